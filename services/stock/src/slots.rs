//! Which master has which slots of a cluster.
//!
//! Not every node has heard of the latest change. Each change of a slot's owner has an epoch of its own, and
//! the claim with the highest epoch holds: the rule by which the nodes settle it among themselves.

use std::collections::{BTreeSet, HashMap};

use redis::{Client, ConnectionAddr, RedisError, Value};

use crate::server::{ASK_TIMEOUT, open};

const SLOTS: u16 = 16_384;

/// Host and port of a master.
pub(crate) type Address = (String, u16);

/// A range of slots, and who somebody says is their master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    first: u16,
    last: u16,
    /// Grows with each change of who has which slots.
    epoch: u64,
    /// Whether the master says so itself: it knows its own address best.
    own: bool,
    master: Address,
}

/// A range of slots, and their master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) master: Address,
}

/// What this node knows of who has which slots.
pub(crate) async fn ask(node: Client) -> Result<Vec<Claim>, String> {
    let told = async {
        let mut connection = open(&node, ASK_TIMEOUT, Some(ASK_TIMEOUT)).await?;
        let mut questions = redis::pipe();
        questions.cmd("CLUSTER").arg("NODES");
        questions.cmd("CLUSTER").arg("SLOTS");
        questions.query_async::<(String, Vec<Vec<Value>>)>(&mut connection).await
    };
    let (nodes, slots) = told.await.map_err(|error: RedisError| error.to_string())?;
    let asked = match node.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    };
    let known = epochs(&nodes);
    let claims: Vec<_> = slots.into_iter().filter_map(|row| claim(row, &known, asked)).collect();
    if claims.is_empty() {
        return Err("it knows of no master with slots".to_owned());
    }
    Ok(claims)
}

/// For each node's id: its epoch, and whether it is the one we asked. A line of `CLUSTER NODES` is `id
/// address flags master ping pong epoch link slots…`.
fn epochs(nodes: &str) -> HashMap<&str, (u64, bool)> {
    let known = nodes.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (id, flags) = (words.next()?, words.nth(1)?);
        Some((id, (words.nth(3)?.parse().ok()?, flags.split(',').any(|flag| flag == "myself"))))
    });
    known.collect()
}

/// A row of `CLUSTER SLOTS` is `first, last, [host, port, id, …], …`; the first node is the master. A master
/// that does not know its own address leaves it out: it is the node we asked. `?` stands for a name that
/// nobody knows.
fn claim(row: Vec<Value>, known: &HashMap<&str, (u64, bool)>, asked: &str) -> Option<Claim> {
    let mut row = row.into_iter();
    let (first, last, master) = (row.next()?, row.next()?, row.next()?);
    let Value::Array(master) = master else { return None };
    let mut master = master.into_iter();
    let host: Option<String> = redis::from_redis_value(master.next()?).ok()?;
    let port = redis::from_redis_value(master.next()?).ok()?;
    let id: String = redis::from_redis_value(master.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.to_owned());
    let (epoch, own) = known.get(id.as_str()).copied()?;
    (host != "?").then_some(Claim {
        first: redis::from_redis_value(first).ok()?,
        last: redis::from_redis_value(last).ok()?,
        epoch,
        own,
        master: (host, port),
    })
}

/// Which master has which slots, if each slot goes to the claim with the highest epoch.
pub(crate) fn settle(claims: &BTreeSet<Claim>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for slot in 0..SLOTS {
        let holding = claims.iter().filter(|claim| (claim.first..=claim.last).contains(&slot));
        let Some(claim) = holding.max_by_key(|claim| (claim.epoch, claim.own)) else { continue };
        match ranges.last_mut() {
            Some(range) if range.last + 1 == slot && range.master == claim.master => range.last = slot,
            _ => ranges.push(Range { first: slot, last: slot, master: claim.master.clone() }),
        }
    }
    ranges
}

/// The slot of a key: CRC-16 (XMODEM) of what stands in its first braces.
pub(crate) fn of_key(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` answers.
    #[test]
    fn slots_are_those_of_redis() {
        for (key, expected) in
            [("123456789", 12_739), ("rm:sales", 1831), ("{user1000}.following", 3443), ("foo{}{bar}", 8363)]
        {
            assert_eq!(of_key(key), expected, "{key}");
        }
    }

    fn says(first: u16, last: u16, epoch: u64, own: bool, master: &str) -> Claim {
        Claim { first, last, epoch, own, master: (master.to_owned(), 6379) }
    }

    fn settled(claims: &[Claim]) -> Vec<(u16, u16, String)> {
        let ranges = settle(&claims.iter().cloned().collect());
        ranges.into_iter().map(|range| (range.first, range.last, range.master.0)).collect()
    }

    #[test]
    fn of_two_who_claim_a_slot_the_one_of_the_higher_epoch_has_it_whoever_has_not_heard_of_it() {
        let replaced = says(0, 9, 1, true, "old");
        let replacing = says(0, 9, 7, true, "new");
        assert_eq!(settled(&[replaced.clone(), replacing]), [(0, 9, "new".into())]);
        // One slot has moved.
        let moved = says(4, 4, 8, false, "other");
        assert_eq!(
            settled(&[replaced, moved]),
            [(0, 3, "old".into()), (4, 4, "other".into()), (5, 9, "old".into())]
        );
    }

    #[test]
    fn a_master_knows_its_own_address_best() {
        let heard = says(0, 9, 1, false, "z-before");
        assert_eq!(settled(&[heard, says(0, 9, 1, true, "after")]), [(0, 9, "after".into())]);
    }

    #[test]
    fn what_a_node_says_is_read_with_the_epochs_of_the_masters() {
        let nodes = "a1 :6379@16379 myself,master - 0 0 3 connected 0-9\n\
                     b2 10.0.0.2:6379@16379,redis-1 master - 0 1 2 connected 10-19 [10->-a1]\n\
                     c3 10.0.0.3:6379@16379 slave a1 0 1 3 connected\n";
        let known = epochs(nodes);
        assert_eq!(known.get("a1"), Some(&(3, true)));
        assert_eq!(known.get("b2"), Some(&(2, false)));
        let row = |first, last, host: Value, id: &str| {
            let node = vec![host, Value::Int(6379), Value::BulkString(id.into()), Value::Array(vec![])];
            vec![Value::Int(first), Value::Int(last), Value::Array(node)]
        };
        let text = |text: &str| Value::BulkString(text.into());
        assert_eq!(claim(row(0, 9, text(""), "a1"), &known, "here"), Some(says(0, 9, 3, true, "here")));
        assert_eq!(claim(row(0, 9, Value::Nil, "a1"), &known, "here"), Some(says(0, 9, 3, true, "here")));
        let other = claim(row(10, 19, text("redis-1"), "b2"), &known, "here");
        assert_eq!(other, Some(says(10, 19, 2, false, "redis-1")));
        for unusable in [row(10, 19, text("?"), "b2"), row(10, 19, text("h"), "unknown"), vec![]] {
            assert_eq!(claim(unusable, &known, "here"), None);
        }
    }
}
