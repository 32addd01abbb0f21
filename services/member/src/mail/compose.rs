//! The texts of mails, each written once and rendered as plain text and as HTML.
//!
//! No mail contains anything that a stranger typed: somebody who signs up with another person's address must
//! not be able to put words (or links) into a mail that comes from us.

use anyhow::Context;
use lettre::Message;
use lettre::message::{Mailbox, MultiPart};

use crate::http::html;
use crate::store::mails::Waiting;
use crate::store::{password_resets, sign_ups};

/// A mail without addresses.
#[derive(Debug)]
pub(super) struct Letter {
    subject: &'static str,
    opening: String,
    /// Label and address of the only thing to click.
    link: Option<(&'static str, String)>,
    closing: String,
}

impl Letter {
    pub(super) fn verification(link: &str) -> Self {
        Self {
            subject: "Confirm your e-mail address",
            opening: "Welcome to Rocket Mart. Confirm that this address is yours, and you can log in.".into(),
            link: Some(("Confirm my address", link.to_owned())),
            closing: format!(
                "The link works once, for {} hours. If you did not sign up, do nothing: without the link no account comes to be.",
                sign_ups::LINK_LIFETIME.whole_hours()
            ),
        }
    }

    pub(super) fn already_member() -> Self {
        Self {
            subject: "You already have an account",
            opening: "Somebody, probably you, tried to sign up at Rocket Mart with this address. It has an account already.".into(),
            link: None,
            closing: "Log in as usual, or ask for a new password if you forgot yours. If it was not you, do nothing: nothing has changed.".into(),
        }
    }

    pub(super) fn password_reset(link: &str) -> Self {
        Self {
            subject: "Set a new password",
            opening: "Somebody, probably you, asked for a new password for your Rocket Mart account.".into(),
            link: Some(("Set a new password", link.to_owned())),
            closing: format!(
                "The link works once, for {} minutes. If it was not you, do nothing: your password stays as it is.",
                password_resets::LINK_LIFETIME.whole_minutes()
            ),
        }
    }

    pub(super) fn password_changed() -> Self {
        Self {
            subject: "Your password was changed",
            opening: "The password of your Rocket Mart account was changed, and other devices were logged out.".into(),
            link: None,
            closing: "If it was not you, ask for a new password at once: whoever it was knew your old one or can read your mail.".into(),
        }
    }

    pub(super) fn account_deleted() -> Self {
        Self {
            subject: "Your account was deleted",
            opening: "Your Rocket Mart account was deleted: your name, your address, your password, and every session.".into(),
            link: None,
            closing: "What belongs to orders you made is kept with them. This is the last mail you get from us.".into(),
        }
    }

    /// The finished mail. Its Message-ID stays the same if it is sent again.
    pub(super) fn addressed(&self, from: &Mailbox, mail: &Waiting) -> anyhow::Result<Message> {
        let to = mail.recipient.parse().context("a stored e-mail address is malformed")?;
        Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(self.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, from.email.domain())))
            .multipart(MultiPart::alternative_plain_html(self.text(), self.html()))
            .context("cannot build a mail")
    }

    fn text(&self) -> String {
        let link =
            self.link.as_ref().map(|(label, link)| format!("{label}:\n{link}\n\n")).unwrap_or_default();
        format!("{}\n\n{link}{}\n", self.opening, self.closing)
    }

    fn html(&self) -> String {
        let link = self
            .link
            .as_ref()
            .map(|(label, link)| {
                format!("<p><a href=\"{0}\">{label}</a></p>\n<p>{0}</p>\n", html::escape(link))
            })
            .unwrap_or_default();
        html::page(
            self.subject,
            &format!("<p>{}</p>\n{link}<p>{}</p>", html::escape(&self.opening), html::escape(&self.closing)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_mail_carry_its_link() {
        let letter = Letter::verification("https://shop.example/verify?token=a&b=1");
        assert!(letter.text().contains("\nhttps://shop.example/verify?token=a&b=1\n"));
        assert!(letter.html().contains("href=\"https://shop.example/verify?token=a&amp;b=1\""));
    }

    #[test]
    fn lifetimes_are_told_as_they_are() {
        assert!(Letter::verification("x").text().contains("24 hours"));
        assert!(Letter::password_reset("x").text().contains("60 minutes"));
    }
}
