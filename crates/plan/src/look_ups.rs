//! Look-ups that advise or protect, and are not worth the run: what could not be looked for is said.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;
use workflow::Error;

use crate::Context;

/// For all look-ups that advise together, since they run side by side.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a look-up that only advises found, or that it found nothing out.
pub(crate) async fn advice(
    context: &Context,
    what: &str,
    look_up: impl Future<Output = Result<Vec<String>, Error>>,
) -> Vec<String> {
    in_time(context, look_up).await.unwrap_or_else(|why| vec![not_looked_for(what, why)])
}

/// A look-up's answer, or why there is none.
pub(crate) async fn in_time<T, E: Display>(
    context: &Context,
    look_up: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(context.patience, look_up).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", context.patience.as_secs_f32())),
    }
}

/// What protects is worth another try while AWS is busy. Otherwise (a policy above the role may forbid a service
/// altogether, a Region may not have it) it is said, where going on without it is safe.
pub(crate) fn said_unless_passing(what: &str, error: Error) -> Result<String, Error> {
    if error.is_passing() { Err(error) } else { Ok(not_looked_for(what, error)) }
}

pub(crate) fn not_looked_for(what: &str, why: impl Display) -> String {
    format!("NOT looked for: {what} ({why}). Look yourself.")
}
