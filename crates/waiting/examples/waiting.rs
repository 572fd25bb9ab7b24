//! Prints what the polling loops lose and cost, beside the reference's fixed interval.

#![allow(clippy::print_stdout, reason = "the table is this program's output")]

fn main() {
    println!(
        "Waits of 90 to 100 % of the time given. Overshoot: from the end of what is waited for to the look that sees it.\n"
    );
    print!("{}", waiting::simulation::table());
}
