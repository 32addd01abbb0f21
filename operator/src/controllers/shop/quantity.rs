//! Reads Kubernetes quantities as numbers: `1024Mi`, `0.5`, `500m`, `1e3`.

/// Suffixes and what they multiply by.
const SUFFIXES: [(&str, f64); 16] = [
    ("Ki", 1_024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];
/// The server rounds to a billionth, and sums of fractions are rounded here too.
const TOLERANCE: f64 = 1e-9;

/// Whether two quantities are the same number. Text that is not a quantity is compared as text.
pub(super) fn are_equal(one: &str, other: &str) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => (one - other).abs() <= TOLERANCE * one.abs().max(1.0),
        _ => one == other,
    }
}

fn number(text: &str) -> Option<f64> {
    let (digits, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let digits = text.strip_suffix(suffix)?;
        digits.ends_with(|last: char| last.is_ascii_digit() || last == '.').then_some((digits, factor))
    })?;
    digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_quantities_are_numbers_with_a_suffix_or_an_exponent() {
        for (one, other) in [
            ("1024Mi", "1Gi"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("2E", "2000P"),
            ("100m", "0.1"),
            ("1.5Gi", "1536Mi"),
            ("0", "0Mi"),
            ("+1", "1"),
        ] {
            assert!(are_equal(one, other), "{one} is {other}");
        }
        for (one, other) in [("1Gi", "1G"), ("1023Mi", "1Gi"), ("1m", "2m"), ("1", "x"), ("Mi", "0")] {
            assert!(!are_equal(one, other), "{one} is not {other}");
        }
    }
}
