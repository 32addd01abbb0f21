//! Names that refer to objects: they go into the paths of the API server, into host names and into labels, so
//! nothing is looked up under a name that cannot be one.

/// CEL: `field` is a DNS label that begins with a letter, as the names of Services are.
pub(crate) fn is_a_label(field: &str) -> String {
    format!("{field}.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
}

/// CEL: `field` is a DNS subdomain, as the names of most objects are.
pub(crate) fn is_a_subdomain(field: &str) -> String {
    format!("{field}.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
}

/// Whether an object can have this name. One that was stored before there were rules may refer to others by
/// anything.
pub fn can_be_a_name(text: &str) -> bool {
    let is_a_label = |label: &str| {
        label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_a_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_character_that_means_something_in_a_path() {
        for name in ["rocket", "my.shop", "2026-shop", "a"] {
            assert!(can_be_a_name(name), "{name}");
        }
        for name in
            ["", ".", "..", "a/b", "rocket?x=1", "rocket/status", "a..b", "-a", "a-", "A", "a b", "%2e"]
        {
            assert!(!can_be_a_name(name), "{name}");
        }
        assert!(!can_be_a_name(&"a".repeat(254)));
    }
}
