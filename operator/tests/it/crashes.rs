//! A series of operators, each cut off at one of its first writes (after Sieve's crash sweep).
//!
//! A separate life for each cut would take minutes. Here one life takes all the cuts: each operator
//! continues from what the last one left. A life that begins elsewhere in the pattern meets the same write
//! from its other side.

use std::{iter, pin::pin};

use crate::{
    operators::Operator,
    scissors::{Scissors, Side},
};

/// Where each operator in turn is cut off. The next operator repeats three writes at most: its own term in
/// the status, the close-out, and the status that reports it.
const PATTERN: [(usize, Side); 6] = [
    (0, Side::Before),
    (0, Side::After),
    (1, Side::Before),
    (1, Side::After),
    (2, Side::Before),
    (2, Side::After),
];
/// More crashes than a sale or a shop needs. The operator after these is not cut off.
pub const MOST_CRASHES: usize = 150;

/// Runs a series of operators until `end`, cutting the first one off at `PATTERN[begin]`. Returns how many
/// crashed.
pub async fn crashing(
    begin: usize,
    start: impl AsyncFn(Scissors, i64) -> Operator,
    end: impl Future<Output = ()>,
) -> usize {
    let mut end = pin!(end);
    let cuts = PATTERN.into_iter().cycle().skip(begin).take(MOST_CRASHES).map(Some).chain(iter::once(None));
    for (crashes, cut) in cuts.enumerate() {
        let scissors = cut.map_or_else(Scissors::blunt, |(request, side)| Scissors::at(request, side));
        let operator = start(scissors.clone(), i64::try_from(crashes).unwrap() + 1).await;
        tokio::select! {
            () = &mut end => {
                operator.stop().await;
                return crashes;
            }
            () = scissors.was_cut() => operator.crash().await,
        }
    }
    unreachable!("blunt scissors cut nothing")
}
