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
fn postgres_answers_after_a_crash() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.create_database("shop")?;
    postgres.kill();
    postgres.restart()?;
    postgres.execute("SELECT 1")
}
