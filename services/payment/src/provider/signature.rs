//! The signature on call-backs: `Provider-Signature: t=<unix seconds>,v1=<hex>`, HMAC-SHA256 under
//! the shared secret over `<t>.<body>`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// A call-back older (or from further in the future) than this is refused, so that a recorded one
/// cannot be played back later. Seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    #[error("the header must read t=<unix seconds>,v1=<hex>")]
    Malformed,
    #[error("the time of the signature is more than five minutes away")]
    OutOfTime,
    #[error("the signature does not match the body")]
    Mismatch,
}

/// Checks `header` for `body` at the Unix time `now` (seconds); comparison takes constant time.
pub fn verify(secret: &str, header: &str, body: &[u8], now: i64) -> Result<(), SignatureError> {
    let (mut at, mut given) = (None, None);
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => at = value.parse::<i64>().ok(),
            Some(("v1", value)) => given = hex::decode(value).ok(),
            _ => {}
        }
    }
    let (at, given) = at.zip(given).ok_or(SignatureError::Malformed)?;
    if now.abs_diff(at) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(SignatureError::OutOfTime);
    }
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&given).map_err(|_| SignatureError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"a":1}"#;
    const AT: i64 = 1_700_000_000;
    /// Computed with: `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`
    const HEADER: &str = "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";

    #[test]
    fn a_genuine_call_back_passes() {
        assert_eq!(verify("secret", HEADER, BODY, AT + 299), Ok(()));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(verify("other", HEADER, BODY, AT), Err(SignatureError::Mismatch));
        assert_eq!(verify("secret", HEADER, br#"{"a":2}"#, AT), Err(SignatureError::Mismatch));
        assert_eq!(verify("secret", HEADER, BODY, AT + 301), Err(SignatureError::OutOfTime));
        assert_eq!(verify("secret", HEADER, BODY, i64::MIN), Err(SignatureError::OutOfTime));
        let later = HEADER.replace("1700000000", "1700000001");
        assert_eq!(verify("secret", &later, BODY, AT), Err(SignatureError::Mismatch));
        for malformed in ["", "t=1700000000", "v1=00", "t=x,v1=00", "t=1700000000,v1=zz"] {
            assert_eq!(verify("secret", malformed, BODY, AT), Err(SignatureError::Malformed), "{malformed}");
        }
    }
}
