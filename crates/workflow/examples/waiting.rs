//! Prints what the polling loops lose and cost, beside the reference's fixed interval.

#![allow(clippy::print_stdout, reason = "the table is this program's output")]

fn main() {
    println!("Overshoot is the time between the end of what is waited for and the look that sees it.\n");
    print!("{}", workflow::wait::simulation::table());
}
