//! Shuttle prints the schedule of a run that failed. `shuttle::replay(play, "…")` repeats it.

use rocketmart_stock_schedules::play;

/// Every task may be held up anywhere, any number of times.
#[test]
fn whatever_the_interleaving_each_job_is_called_once_and_its_caller_gets_its_answer() {
    shuttle::check_random(play, 3_000);
}

/// Few hold-ups, at places picked so that the test does not miss rare ones.
#[test]
fn three_hold_ups_anywhere_break_no_promise() {
    shuttle::check_pct(play, 3_000, 3);
}
