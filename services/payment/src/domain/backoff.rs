//! How long to wait before asking the provider again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after the `attempt`-th try (counted from 1). It doubles from 200 ms to 30 s. `jitter` (0 to 1)
/// adds up to half of it, so that payments that failed together do not return together.
pub fn pause_after(attempt: i32, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(16);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    pause.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_below_their_limit() {
        assert_eq!(pause_after(1, 0.0), FIRST);
        assert_eq!(pause_after(3, 0.0), FIRST * 4);
        assert_eq!(pause_after(1_000, 1.0), LONGEST.mul_f64(1.5));
        assert_eq!(pause_after(i32::MIN, 0.0), FIRST);
    }
}
