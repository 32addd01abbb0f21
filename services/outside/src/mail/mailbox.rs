//! The mails kept in memory, newest first; the oldest are dropped when there are too many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mail_parser::MessageParser;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The most mails to keep, and the most bytes that their text may take together.
const MAX_MAILS: usize = 10_000;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// One mail as its reader sees it. Addresses come from the SMTP envelope, the rest from the message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    /// The decoded `text/plain` part; empty if there is none.
    pub text: String,
    /// The decoded `text/html` part.
    pub html: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
}

impl Mail {
    /// Reads a raw RFC 5322 message. What it does not understand stays empty, because a sink shows what came.
    pub(super) fn parse(from: String, to: Vec<String>, raw: &[u8]) -> Self {
        let message = MessageParser::default().parse(raw).unwrap_or_default();
        // `body_text` and `body_html` convert one kind into the other; here only real parts count.
        let has_html = message.html_bodies().any(mail_parser::MessagePart::is_text_html);
        let has_text = message.text_bodies().any(|part| part.is_text() && !part.is_text_html());
        Self {
            from,
            to,
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).filter(|_| has_text).map(String::from).unwrap_or_default(),
            html: message.body_html(0).filter(|_| has_html).map(String::from),
            received_at: OffsetDateTime::now_utc(),
        }
    }

    fn bytes(&self) -> usize {
        self.subject.len() + self.text.len() + self.html.as_ref().map_or(0, String::len)
    }

    fn is_to(&self, recipient: &str) -> bool {
        self.to.iter().any(|to| to.eq_ignore_ascii_case(recipient))
    }
}

#[derive(Default, Clone)]
pub(super) struct Mailbox(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    newest_first: VecDeque<Mail>,
    bytes: usize,
}

impl Mailbox {
    pub(super) fn keep(&self, mail: Mail) {
        let mut kept = self.lock();
        kept.bytes += mail.bytes();
        kept.newest_first.push_front(mail);
        while kept.newest_first.len() > MAX_MAILS || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.newest_first.pop_back() else { break };
            kept.bytes -= oldest.bytes();
        }
    }

    /// Newest first: all mails, or those sent to `recipient` (in any case).
    pub(super) fn list(&self, recipient: Option<&str>) -> Vec<Mail> {
        let kept = self.lock();
        let wanted = |mail: &&Mail| recipient.is_none_or(|recipient| mail.is_to(recipient));
        kept.newest_first.iter().filter(wanted).cloned().collect()
    }

    pub(super) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// A panic under the lock cannot leave the list half-changed in a way that matters to a sink.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(to: &str, text: &str) -> Mail {
        Mail::parse(
            "shop@example.com".into(),
            vec![to.into()],
            format!("Subject: s\r\n\r\n{text}").as_bytes(),
        )
    }

    #[test]
    fn the_newest_mail_comes_first_and_recipients_are_compared_without_case() {
        let mailbox = Mailbox::default();
        for (to, text) in [("a@example.com", "1"), ("b@example.com", "2"), ("A@Example.com", "3")] {
            mailbox.keep(mail(to, text));
        }
        let texts: Vec<_> = mailbox.list(Some("a@example.com")).into_iter().map(|mail| mail.text).collect();
        assert_eq!(texts, ["3", "1"]);
        assert_eq!(mailbox.list(None).len(), 3);
    }

    #[test]
    fn the_oldest_mails_make_room() {
        let mailbox = Mailbox::default();
        for n in 0..=MAX_MAILS {
            mailbox.keep(mail("a@example.com", &n.to_string()));
        }
        let kept = mailbox.list(None);
        assert_eq!(kept.len(), MAX_MAILS);
        assert_eq!(kept.last().map(|mail| mail.text.as_str()), Some("1"));
    }

    #[test]
    fn both_parts_of_a_multipart_mail_are_decoded() {
        let raw = "Subject: =?utf-8?B?7JWI64WV?=\r\n\
            Content-Type: multipart/alternative; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            https://shop/verify?token=3Dabc=\r\ndef\r\n\
            --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
            PGI+aGk8L2I+\r\n--b--\r\n";
        let mail = Mail::parse("f@example.com".into(), vec!["t@example.com".into()], raw.as_bytes());
        assert_eq!(mail.subject, "안녕");
        assert_eq!(mail.text.trim_end(), "https://shop/verify?token=abcdef");
        assert_eq!(mail.html.as_deref(), Some("<b>hi</b>"));
    }
}
