use anyhow::Result;

use super::{Postgres, Redis};

#[test]
fn redis_keeps_its_data_through_a_crash_and_loses_it_with_its_volume() -> Result<()> {
    let mut redis = Redis::start()?;
    let cli = |arguments: &[&str], port: u16| -> Result<String> {
        let output = std::process::Command::new("redis-cli")
            .args(["-p", &port.to_string()])
            .args(arguments)
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    cli(&["SET", "unit", "1"], redis.port())?;
    redis.kill();
    redis.restart()?;
    assert_eq!(cli(&["GET", "unit"], redis.port())?, "1");
    redis.restart_empty()?;
    assert_eq!(cli(&["GET", "unit"], redis.port())?, "");
    Ok(())
}

#[test]
fn postgres_answers_after_a_crash_and_comes_back_from_a_backup_when_all_is_lost() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.create_database("shop")?;
    postgres.execute_in("shop", "CREATE TABLE units AS SELECT 1 AS unit")?;
    postgres.kill();
    postgres.restart()?;
    let backup = postgres.dir().join("shop.dump");
    postgres.dump("shop", &backup)?;
    postgres.restart_empty()?;
    postgres.create_database("shop")?;
    assert!(postgres.execute_in("shop", "SELECT unit FROM units").is_err());
    postgres.restore("shop", &backup)?;
    postgres.execute_in("shop", "SELECT 1 / count(*) FROM units")
}
