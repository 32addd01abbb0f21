//! What each SMTP command means in each state (RFC 5321, 4.1): a state machine without I/O.

use std::fmt;

const MAX_RECIPIENTS: usize = 100;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// What the connection does after writing the reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Command,
    Data(Envelope),
    Close,
}

#[derive(Debug)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
    pub(super) next: Next,
}

impl Reply {
    pub(super) fn new(code: u16, text: &str) -> Self {
        Self { code, lines: vec![text.to_owned()], next: Next::Command }
    }

    fn then(mut self, next: Next) -> Self {
        self.next = next;
        self
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.lines.len() - 1;
        self.lines.iter().enumerate().try_for_each(|(at, line)| {
            let separator = if at == last { ' ' } else { '-' };
            write!(f, "{}{separator}{line}\r\n", self.code)
        })
    }
}

pub(super) struct Session {
    max_mail_bytes: usize,
    greeted: bool,
    envelope: Option<Envelope>,
}

impl Session {
    pub(super) fn new(max_mail_bytes: usize) -> Self {
        Self { max_mail_bytes, greeted: false, envelope: None }
    }

    pub(super) fn command(&mut self, line: &str) -> Reply {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.greet(vec![
                "rocketmart".to_owned(),
                format!("SIZE {}", self.max_mail_bytes),
                "8BITMIME".to_owned(),
                "SMTPUTF8".to_owned(),
                "PIPELINING".to_owned(),
            ]),
            "HELO" => self.greet(vec!["rocketmart".to_owned()]),
            "MAIL" => self.mail(rest),
            "RCPT" => self.recipient(rest),
            "DATA" => self.data(),
            "RSET" => {
                self.envelope = None;
                Reply::new(250, "forgotten")
            }
            "NOOP" => Reply::new(250, "ok"),
            "VRFY" => Reply::new(252, "every mail is accepted"),
            "QUIT" => Reply::new(221, "bye").then(Next::Close),
            _ => Reply::new(500, "unknown command"),
        }
    }

    fn greet(&mut self, lines: Vec<String>) -> Reply {
        self.greeted = true;
        self.envelope = None;
        Reply { code: 250, lines, next: Next::Command }
    }

    fn mail(&mut self, rest: &str) -> Reply {
        if !self.greeted {
            return Reply::new(503, "say EHLO first");
        }
        if self.envelope.is_some() {
            return Reply::new(503, "a mail is already begun");
        }
        let Some((from, parameters)) = path(rest, "FROM:") else {
            return Reply::new(501, "expected MAIL FROM:<address>");
        };
        let announced = parameters.split_ascii_whitespace().find_map(|parameter| {
            parameter.to_ascii_uppercase().strip_prefix("SIZE=")?.parse::<usize>().ok()
        });
        if announced.is_some_and(|bytes| bytes > self.max_mail_bytes) {
            return Reply::new(552, "mail is larger than the announced SIZE");
        }
        self.envelope = Some(Envelope { from: from.to_owned(), to: Vec::new() });
        Reply::new(250, "sender ok")
    }

    fn recipient(&mut self, rest: &str) -> Reply {
        let Some(envelope) = &mut self.envelope else {
            return Reply::new(503, "say MAIL first");
        };
        let Some((to, _)) = path(rest, "TO:").filter(|(to, _)| to.contains('@')) else {
            return Reply::new(501, "expected RCPT TO:<address>");
        };
        if envelope.to.len() == MAX_RECIPIENTS {
            return Reply::new(452, "too many recipients");
        }
        envelope.to.push(to.to_owned());
        Reply::new(250, "recipient ok")
    }

    fn data(&mut self) -> Reply {
        match self.envelope.take_if(|envelope| !envelope.to.is_empty()) {
            Some(envelope) => Reply::new(354, "end with <CR><LF>.<CR><LF>").then(Next::Data(envelope)),
            None => Reply::new(503, "say MAIL and RCPT first"),
        }
    }
}

/// Splits `FROM:<address> PARAMETER…` into the address and what follows it.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(())?;
    tail.trim_start().strip_prefix('<')?.split_once('>')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(session: &mut Session, commands: &[&str]) -> Vec<u16> {
        commands.iter().map(|command| session.command(command).code).collect()
    }

    #[test]
    fn commands_out_of_order_are_refused() {
        let mut session = Session::new(1000);
        assert_eq!(
            codes(
                &mut session,
                &[
                    "MAIL FROM:<a@b.example>",
                    "ehlo x",
                    "RCPT TO:<a@b.example>",
                    "DATA",
                    "mail from:<>",
                    "DATA"
                ]
            ),
            [503, 250, 503, 503, 250, 503]
        );
    }

    #[test]
    fn a_mail_announced_too_large_is_refused_before_its_data() {
        let mut session = Session::new(1000);
        assert_eq!(codes(&mut session, &["EHLO x", "MAIL FROM:<a@b.example> SIZE=1001"]), [250, 552]);
    }

    #[test]
    fn reset_forgets_the_envelope_and_malformed_paths_are_named() {
        let mut session = Session::new(1000);
        assert_eq!(
            codes(
                &mut session,
                &[
                    "EHLO x",
                    "MAIL FROM:a@b",
                    "MAIL FROM:<a@b.example>",
                    "RSET",
                    "RCPT TO:<a@b.example>",
                    "FOO"
                ]
            ),
            [250, 501, 250, 250, 503, 500]
        );
    }

    #[test]
    fn recipients_are_bounded() {
        let mut session = Session::new(1000);
        codes(&mut session, &["EHLO x", "MAIL FROM:<a@b.example>"]);
        for _ in 0..MAX_RECIPIENTS {
            assert_eq!(session.command("RCPT TO:<b@b.example>").code, 250);
        }
        assert_eq!(session.command("RCPT TO:<b@b.example>").code, 452);
    }

    #[test]
    fn the_greeting_lists_extensions_over_several_lines() {
        let reply = Session::new(1000).command("EHLO x").to_string();
        assert_eq!(
            reply,
            "250-rocketmart\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n"
        );
    }
}
