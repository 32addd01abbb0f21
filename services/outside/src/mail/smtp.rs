//! The SMTP server: one task per connection moves bytes, and [`session`] decides what they mean.

mod lines;
mod session;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::lines::{Line, Lines};
use self::session::{Next, Reply, Session};
use super::mailbox::{Mail, Mailbox};

/// The largest mail, including dots and line ends.
const MAX_MAIL_BYTES: usize = 1024 * 1024;
const MAX_CONNECTIONS: usize = 100;
/// RFC 5321 (4.5.3.2.7) lets a server hang up on a client that is silent for five minutes.
const IDLE_LIMIT: Duration = Duration::from_mins(5);

pub(super) async fn serve(
    listener: TcpListener,
    mailbox: Mailbox,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (mut stream, peer) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted.context("accepting an SMTP connection")?,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            write(&mut stream, &Reply::new(421, "too many connections, try again later")).await.ok();
            continue;
        };
        let mailbox = mailbox.clone();
        let stop = stop.clone();
        tokio::spawn(async move {
            let _place = place;
            // A connection dies with the server, as with a real one.
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = converse(stream, &mailbox) => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "SMTP connection ended");
            }
        });
    }
}

async fn converse(stream: TcpStream, mailbox: &Mailbox) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut lines = Lines::new(BufReader::new(reader));
    let mut session = Session::new(MAX_MAIL_BYTES);

    write(&mut writer, &Reply::new(220, "rocketmart mail sink ESMTP")).await?;
    loop {
        let reply = match tokio::time::timeout(IDLE_LIMIT, lines.next_command()).await? {
            Ok(Line::Complete(line)) => session.command(&line),
            Ok(Line::TooLong) => Reply::new(500, "line too long"),
            Ok(Line::End) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        write(&mut writer, &reply).await?;
        match reply.next {
            Next::Command => {}
            Next::Close => return Ok(()),
            Next::Data(envelope) => {
                let data = tokio::time::timeout(IDLE_LIMIT, lines.read_data(MAX_MAIL_BYTES)).await??;
                let reply = match data {
                    Some(raw) => {
                        mailbox.keep(Mail::parse(envelope.from, envelope.to, &raw));
                        Reply::new(250, "kept")
                    }
                    None => Reply::new(552, "mail is larger than the announced SIZE"),
                };
                write(&mut writer, &reply).await?;
            }
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> std::io::Result<()> {
    writer.write_all(reply.to_string().as_bytes()).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};

    use super::*;

    /// Sends `script` to a served connection and returns everything that the server answered.
    async fn talk(mailbox: &Mailbox, script: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, mailbox.clone(), stop.clone()));
        let mut client = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut answers = String::new();
        client.read_line(&mut answers).await.unwrap();
        client.write_all(script).await.unwrap();
        client.read_to_string(&mut answers).await.unwrap();
        stop.cancel();
        server.await.unwrap().unwrap();
        answers
    }

    fn codes(answers: &str) -> Vec<&str> {
        answers.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect()
    }

    #[tokio::test]
    async fn a_dot_stuffed_mail_arrives_as_it_was_written() {
        let mailbox = Mailbox::default();
        let answers = talk(
            &mailbox,
            b"EHLO shop\r\nMAIL FROM:<a@example.com> BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\nDATA\r\n\
              Subject: dots\r\n\r\n..one\r\n...two\r\nbare\n.\nline end\r\n.\r\nQUIT\r\n",
        )
        .await;
        assert_eq!(codes(&answers), ["220", "250", "250", "250", "354", "250", "221"]);
        let [mail] = &mailbox.list(None)[..] else { panic!("one mail expected") };
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("a@example.com", &["b@example.com".to_owned()][..])
        );
        // A bare line feed does not end a line, so `\n.\n` cannot smuggle in a second mail (CVE-2023-51764).
        assert_eq!(mail.text.trim_end().replace("\r\n", "|"), ".one|..two|bare\n.\nline end");
    }

    #[tokio::test]
    async fn a_mail_over_the_size_limit_is_refused_and_the_connection_goes_on() {
        let mailbox = Mailbox::default();
        let mut script =
            b"HELO shop\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n".to_vec();
        script.extend(std::iter::repeat_n(b"0123456789\r\n", MAX_MAIL_BYTES / 12 + 1).flatten());
        script.extend(b".\r\nNOOP\r\nQUIT\r\n");
        let answers = talk(&mailbox, &script).await;
        assert_eq!(codes(&answers), ["220", "250", "250", "250", "354", "552", "250", "221"]);
        assert!(mailbox.list(None).is_empty());
    }
}
