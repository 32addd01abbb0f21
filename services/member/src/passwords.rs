//! Argon2id without eating up the machine: at most one hash per core at a time, off the async threads, with a
//! bounded wait in front and the same few blocks of memory for all of them.
//!
//! We manage the memory because the allocator's use is not bounded. When changing threads take and free 19
//! MiB, with small, longer-lived allocations in between, they leave holes that the next 19 MiB do not fit
//! into. Two dozen sign-ups at once grew the process by half a gigabyte.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rocketmart_kit::problem::Problem;
use tokio::sync::Semaphore;

use crate::domain::password::Password;
use crate::domain::secret::Secret;

/// OWASP's first recommendation (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The most hashes at once on a machine with many cores, so that they stay within 150 MiB.
const MOST_AT_ONCE: usize = 8;

/// A request waits this long for its turn; then it is told to come back.
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
    turns: Arc<Semaphore>,
    /// Memory that earlier hashes left for reuse: as many pieces as were ever in use at once.
    memories: Arc<Mutex<Vec<Memory>>>,
    /// A hash of a password that nobody has, checked if there is no other hash: an unknown e-mail takes as
    /// long as a known one.
    nobody: Arc<str>,
}

/// The memory of one hash; it grows to what its parameters need.
type Memory = Vec<Block>;

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut memory = Memory::new();
        let nobody = hash(Secret::random().reveal().as_bytes(), &mut memory)?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(cores.min(MOST_AT_ONCE))),
            memories: Arc::new(Mutex::new(vec![memory])),
            nobody: nobody.into(),
        })
    }

    /// In PHC notation, with a fresh salt.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Error> {
        self.in_turn(move |memory| hash(password.as_bytes(), memory)).await
    }

    /// Whether `password` belongs to `stored`. It is just as slow if there is no hash to compare with.
    pub(crate) async fn verify(&self, password: Password, stored: Option<String>) -> Result<bool, Error> {
        let nobody = self.nobody.clone();
        self.in_turn(move |memory| {
            let (known, stored) = (stored.is_some(), stored.as_deref().unwrap_or(&nobody));
            for spelling in password.spellings() {
                if verify(spelling, stored, memory)? {
                    return Ok(known);
                }
            }
            Ok(false)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(WAIT, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Busy)?.map_err(|closed| Error::Hash(closed.into()))?;
        let memories = self.memories.clone();
        // The task keeps the turn: if the client hangs up, the hash still runs to its end.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let left = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = left().pop().unwrap_or_default();
            let done = work(&mut memory);
            left().push(memory);
            done
        })
        .await
        .map_err(|panicked| Error::Hash(panicked.into()))?
        .map_err(Error::Hash)
    }
}

fn hash(password: &[u8], memory: &mut Memory) -> anyhow::Result<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).context("Argon2 parameters")?;
    let salt = Salt::generate();
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt),
        hash: Some(output(Algorithm::Argon2id, Version::V0x13, params, password, &salt, memory)?),
    };
    Ok(hash.to_string())
}

/// Uses the parameters that `stored` names, which may be those of an earlier release.
fn verify(password: &[u8], stored: &str, memory: &mut Memory) -> anyhow::Result<bool> {
    let stored = PasswordHash::new(stored).context("a stored password hash is malformed")?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        anyhow::bail!("a stored password hash has no salt or no hash");
    };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
    let version = stored.version.map_or(Ok(Version::V0x10), Version::try_from)?;
    // `Output` compares in constant time.
    Ok(output(algorithm, version, Params::try_from(&stored)?, password, salt, memory)? == *expected)
}

fn output(
    algorithm: Algorithm,
    version: Version,
    params: Params,
    password: &[u8],
    salt: &[u8],
    memory: &mut Memory,
) -> anyhow::Result<Output> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::new());
    }
    let mut bytes = [0; Output::MAX_LENGTH];
    let bytes = &mut bytes[..params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(password, salt, bytes, memory).context("Argon2")?;
    Ok(Output::new(bytes)?)
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

    /// The hash is a test vector of the reference implementation: "password" with other parameters.
    #[tokio::test]
    async fn a_hash_of_other_parameters_is_checked_with_them() {
        let passwords = Passwords::new().unwrap();
        let stored = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(passwords.verify(password("password"), Some(stored.to_owned())).await.unwrap());
        assert!(!passwords.verify(password("Password"), Some(stored.to_owned())).await.unwrap());
    }

    #[tokio::test]
    async fn however_a_keyboard_composes_a_password_it_is_the_same_and_older_hashes_hold_m8() {
        let passwords = Passwords::new().unwrap();
        let (composed, decomposed) = (
            "\u{c0ac}\u{b791}\u{d574} caf\u{e9}",
            "\u{1109}\u{1161}\u{1105}\u{1161}\u{11bc}\u{1112}\u{1162} cafe\u{301}",
        );
        let hash = passwords.hash(password(decomposed)).await.unwrap();
        assert!(passwords.verify(password(composed), Some(hash.clone())).await.unwrap());
        assert!(passwords.verify(password(decomposed), Some(hash)).await.unwrap());
        // Hashed as typed, as an earlier release did.
        let earlier = super::hash(decomposed.as_bytes(), &mut Memory::new()).unwrap();
        assert!(passwords.verify(password(decomposed), Some(earlier.clone())).await.unwrap());
        assert!(!passwords.verify(password("cafe\u{301}"), Some(earlier)).await.unwrap());
    }

    #[tokio::test]
    async fn a_malformed_hash_is_an_error_and_no_refusal() {
        let passwords = Passwords::new().unwrap();
        for stored in ["", "$argon2id$v=19$m=19456,t=2,p=1", "$2b$12$abcdefghijklmnopqrstuv"] {
            let answer = passwords.verify(password("password"), Some(stored.to_owned())).await;
            assert!(matches!(answer, Err(Error::Hash(_))), "{stored}: {answer:?}");
        }
    }

    /// Two dozen simultaneous sign-ups once grew the process to its memory limit.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_number_of_hashes_share_the_memory_of_those_at_once() {
        let passwords = Passwords::new().unwrap();
        let mut hashes = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let passwords = passwords.clone();
            hashes.spawn(async move { passwords.hash(password("correct horse")).await });
        }
        while let Some(hash) = hashes.join_next().await {
            // Under load some may be told to come back.
            assert!(matches!(hash.unwrap(), Ok(_) | Err(Error::Busy)));
        }
        let memories = passwords.memories.lock().unwrap();
        assert!(memories.len() <= passwords.turns.available_permits(), "{}", memories.len());
        assert!(memories.iter().all(|memory| memory.len() == MEMORY_KIB as usize));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_gets_no_turn_is_told_to_come_back() {
        let passwords = Passwords::new().unwrap();
        let all = u32::try_from(passwords.turns.available_permits()).unwrap();
        let _taken = passwords.turns.acquire_many(all).await.unwrap();
        assert!(matches!(passwords.hash(password("correct horse")).await, Err(Error::Busy)));
    }
}
