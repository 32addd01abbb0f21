//! Argon2id, kept from eating the machine: at most one hash per core at a time, off the async
//! threads, and a bounded wait in front.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rocketmart_kit::problem::Problem;
use tokio::sync::Semaphore;

use crate::domain::password::Password;
use crate::domain::secret::Secret;

/// OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A request waits this long for its turn before it is told to come back.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("cannot hash a password")]
    Hash(#[source] anyhow::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy => Self::unavailable("passwords-busy", error.to_string()),
            Error::Hash(cause) => Self::internal(cause.context("cannot hash a password")),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    /// A hash nobody has the password of, checked when there is none: an unknown e-mail takes as
    /// long as a known one.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).context("Argon2 parameters")?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nobody = hash(&argon2, Secret::random().reveal().as_bytes())?;
        Ok(Self { argon2, turns: Arc::new(Semaphore::new(cores)), nobody: nobody.into() })
    }

    /// In PHC notation, with a salt of its own.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        self.in_turn(move || hash(&argon2, password.as_bytes())).await
    }

    /// Whether `password` belongs to `stored`; equally slow when there is no hash to compare with.
    pub(crate) async fn verify(&self, password: Password, stored: Option<String>) -> Result<bool, Error> {
        let argon2 = self.argon2.clone();
        let nobody = self.nobody.clone();
        self.in_turn(move || {
            let known = stored.is_some();
            let matches = verify(&argon2, password.as_bytes(), stored.as_deref().unwrap_or(&nobody))?;
            Ok(known && matches)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(WAIT, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Busy)?.map_err(|closed| Error::Hash(closed.into()))?;
        // The turn goes along: when the client hangs up, the hash still runs to its end.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|panicked| Error::Hash(panicked.into()))?
        .map_err(Error::Hash)
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> anyhow::Result<String> {
    let hash: PasswordHash = argon2.hash_password(password)?;
    Ok(hash.to_string())
}

fn verify(argon2: &Argon2<'_>, password: &[u8], stored: &str) -> anyhow::Result<bool> {
    let stored = PasswordHash::new(stored).context("a stored password hash is malformed")?;
    match argon2.verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error).context("cannot check a password against its hash"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::given(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_hash_accepts_its_password_alone_and_names_owasps_parameters() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(password("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(password("wrong horse"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(password("correct horse"), None).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_gets_no_turn_is_told_to_come_back() {
        let passwords = Passwords::new().unwrap();
        let all = u32::try_from(passwords.turns.available_permits()).unwrap();
        let _taken = passwords.turns.acquire_many(all).await.unwrap();
        assert!(matches!(passwords.hash(password("correct horse")).await, Err(Error::Busy)));
    }
}
