//! One loop over the members of a deployment, one after the other: the source's first, then its replicas'.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::wait::Wait;

/// What one pass over one member leaves in the state.
pub trait Pass {
    fn is_ready(&self) -> bool;
    fn wait(&self) -> &Wait;
}

/// The loop as the state carries it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Each<P> {
    pub ready: bool,
    /// Those that are ready, and the one that is looked at now.
    pub members: Vec<P>,
    /// Of the one that is looked at now.
    pub wait: Wait,
}

impl<P> Default for Each<P> {
    fn default() -> Self {
        Self { ready: false, members: vec![], wait: Wait::default() }
    }
}

/// Goes on with the member at hand, and from one that is ready to the next.
pub async fn each<P: Pass>(
    count: usize,
    previous: Option<Each<P>>,
    pass: impl AsyncFn(usize, Option<P>) -> Result<P, Error>,
) -> Result<Each<P>, Error> {
    // A loop that was over begins anew: what it has seen can have changed since.
    let mut each = previous.filter(|previous| !previous.ready).unwrap_or_default();
    loop {
        let at_hand = each.members.pop_if(|last| !last.is_ready());
        if at_hand.is_none() && each.members.len() >= count {
            each.ready = true;
            return Ok(each);
        }
        let next = pass(each.members.len(), at_hand).await?;
        each.wait = next.wait().clone();
        let is_ready = next.is_ready();
        each.members.push(next);
        if !is_ready {
            return Ok(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Ready at its second look.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Member {
        name: usize,
        looks: u32,
        wait: Wait,
    }

    impl Pass for Member {
        fn is_ready(&self) -> bool {
            self.looks >= 2
        }

        fn wait(&self) -> &Wait {
            &self.wait
        }
    }

    #[tokio::test]
    async fn each_member_is_looked_at_until_it_is_ready_and_then_the_next() {
        let seen = RefCell::new(vec![]);
        let look = async |name: usize, previous: Option<Member>| {
            seen.borrow_mut().push(name);
            let previous = previous.unwrap_or(Member { name, ..Member::default() });
            Ok(Member { looks: previous.looks + 1, ..previous })
        };
        let mut loop_of_all: Option<Each<Member>> = None;
        for ready in [false, false, true] {
            loop_of_all = Some(each(2, loop_of_all, look).await.expect("a pass"));
            assert_eq!(loop_of_all.as_ref().map(|each| each.ready), Some(ready));
        }
        assert_eq!(*seen.borrow(), [0, 0, 1, 1]);
        let names: Vec<usize> = loop_of_all.iter().flat_map(|each| &each.members).map(|member| member.name).collect();
        assert_eq!(names, [0, 1]);
        // Over, it begins anew.
        assert!(!each(2, loop_of_all, look).await.expect("a pass").ready);
    }
}
