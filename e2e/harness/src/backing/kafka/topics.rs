//! Makes topics with one request of Kafka's protocol (`CreateTopics` version 4), so that the harness needs
//! neither a client library nor a Java program per topic.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};

const CREATE_TOPICS: i16 = 19;
const VERSION: i16 = 4;
const CORRELATION: i32 = 1;
const LIMIT: Duration = Duration::from_secs(30);
const ALREADY_EXISTS: i16 = 36;

/// A topic with one replica; a compacted one keeps the last message of each key.
#[derive(Debug, Clone, Copy)]
pub struct Topic<'a> {
    pub name: &'a str,
    pub partitions: i32,
    pub compacted: bool,
}

/// Makes the topics that do not exist yet.
pub(super) fn create(port: u16, topics: &[Topic<'_>]) -> Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(LIMIT))?;
    let request = request(topics)?;
    connection.write_all(&i32::try_from(request.len())?.to_be_bytes())?;
    connection.write_all(&request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    connection.read_exact(&mut answer)?;
    // Correlation and throttle time come before the topics.
    let mut answer = Reader(answer.get(8..).context("an answer cut short")?);
    for _ in 0..answer.i32()? {
        let name = answer.text()?.unwrap_or_default();
        let (code, message) = (answer.i16()?, answer.text()?);
        if code != 0 && code != ALREADY_EXISTS {
            bail!("topic {name}: error {code}: {}", message.unwrap_or_default());
        }
    }
    Ok(())
}

fn request(topics: &[Topic<'_>]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend(CREATE_TOPICS.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(CORRELATION.to_be_bytes());
    put_text(&mut bytes, "harness")?;
    bytes.extend(i32::try_from(topics.len())?.to_be_bytes());
    for topic in topics {
        put_text(&mut bytes, topic.name)?;
        bytes.extend(topic.partitions.to_be_bytes());
        bytes.extend(1_i16.to_be_bytes()); // replicas
        bytes.extend(0_i32.to_be_bytes()); // assignments by hand
        bytes.extend(i32::from(topic.compacted).to_be_bytes());
        if topic.compacted {
            put_text(&mut bytes, "cleanup.policy")?;
            put_text(&mut bytes, "compact")?;
        }
    }
    bytes.extend(i32::try_from(LIMIT.as_millis())?.to_be_bytes());
    bytes.push(0); // not only validating
    Ok(bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Result<()> {
    bytes.extend(i16::try_from(text.len())?.to_be_bytes());
    bytes.extend(text.as_bytes());
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().context("an answer cut short")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn text(&mut self) -> Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        let (text, rest) = self.0.split_at_checked(length).context("an answer cut short")?;
        self.0 = rest;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}
