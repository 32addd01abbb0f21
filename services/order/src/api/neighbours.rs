//! Asks payment and delivery, before we take a payment, which card and which address it means.
//!
//! ```text
//! pay ──┬── question ──▶ queue ──▶ one call at a time ──▶ payment
//!       └── question ──▶ queue ──▶ one call at a time ──▶ delivery
//! ```
//! Questions that arrive during a call go with the next one, so thousands of payments a second make only
//! some hundred calls. A neighbour that is away holds nobody up: a question waits a moment at most, or not
//! at all while the circuit is open, and then stays unanswered. We take the payment all the same
//! (docs/adr/0027). If something is wrong with it, the neighbour says so later, and that costs no unit.

use std::time::Duration;

use axum::http::StatusCode;
use rocketmart_contracts::choices::{self, Choices, MOST_WISHES, Wish, Wishes};
use rocketmart_kit::client::{Call, Client};
use rocketmart_kit::problem::{FieldError, Problem};
use rocketmart_stock::PaymentDetails;
use tokio::sync::{mpsc, oneshot};
use url::Url;
use uuid::Uuid;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a payment waits for an answer, retries included.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many questions may wait for their turn; any more stay unanswered.
const QUEUE: usize = 8 * MOST_WISHES;

/// Whom to ask; without an address nobody is asked.
#[derive(Clone, Default, clap::Args)]
pub struct NeighbourArgs {
    /// Address of the payment service.
    #[arg(long, env = "PAYMENT_URL", requires = "internal_token")]
    pub payment_url: Option<Url>,
    /// Address of the delivery service.
    #[arg(long, env = "DELIVERY_URL", requires = "internal_token")]
    pub delivery_url: Option<Url>,
    /// The token of their internal doors.
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<String>,
}

impl std::fmt::Debug for NeighbourArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { payment_url, delivery_url, .. } = self;
        let mut shown = f.debug_struct("NeighbourArgs");
        shown.field("payment_url", payment_url).field("delivery_url", delivery_url).finish_non_exhaustive()
    }
}

/// What a member named, as seen by the neighbour who keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Theirs(Uuid),
    /// It does not belong to the member, or the member has no default.
    Nothing,
    /// Nobody answered.
    Unanswered,
}

pub(super) struct Neighbours {
    cards: Option<Desk>,
    addresses: Option<Desk>,
}

/// What is wrong with the way somebody wants to pay.
#[derive(Debug)]
pub(super) struct Refusal {
    card: Option<FieldError>,
    address: Option<FieldError>,
}

impl Neighbours {
    /// The asking tasks end when this is dropped.
    pub(super) fn new(args: &NeighbourArgs) -> anyhow::Result<Self> {
        let token = args.internal_token.as_deref().unwrap_or_default();
        let desk = |url: Option<&Url>, name, path| {
            url.map(|url| Desk::open(url.clone(), name, path, token)).transpose()
        };
        let cards = desk(args.payment_url.as_ref(), "payment", choices::PAYMENT_METHODS)?;
        let addresses = desk(args.delivery_url.as_ref(), "delivery", choices::ADDRESSES)?;
        if cards.is_none() || addresses.is_none() {
            tracing::warn!("PAYMENT_URL or DELIVERY_URL is not set: payments are taken without asking there");
        }
        Ok(Self { cards, addresses })
    }

    /// Finds the card and the address that the buyer means and names them by their ids from now on, or says
    /// what is wrong with them. A neighbour that does not answer leaves the wish as it was.
    pub(super) async fn choose(&self, buyer: Uuid, wish: PaymentDetails) -> Result<PaymentDetails, Refusal> {
        let (card, address) = tokio::join!(
            ask(self.cards.as_ref(), buyer, wish.payment_method_id),
            ask(self.addresses.as_ref(), buyer, wish.delivery_address_id),
        );
        let refusal = Refusal {
            card: (card == Answer::Nothing).then(|| broken("payment_method_id", wish.payment_method_id)),
            address: (address == Answer::Nothing)
                .then(|| broken("delivery_address_id", wish.delivery_address_id)),
        };
        if refusal.card.is_some() || refusal.address.is_some() {
            return Err(refusal);
        }
        Ok(PaymentDetails {
            payment_method_id: card.or(wish.payment_method_id),
            delivery_address_id: address.or(wish.delivery_address_id),
        })
    }
}

impl Answer {
    fn or(self, wished: Option<Uuid>) -> Option<Uuid> {
        match self {
            Self::Theirs(id) => Some(id),
            Self::Nothing | Self::Unanswered => wished,
        }
    }
}

impl Refusal {
    /// What is wrong with an order that costs nothing: it needs no card.
    pub(super) fn of_a_free_order(self) -> Option<Self> {
        self.address.is_some().then_some(Self { card: None, ..self })
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let is_missing = |error: &FieldError| error.rule == MISSING;
        let code = match (&refusal.card, &refusal.address) {
            (Some(card), _) if is_missing(card) => "payment-method-missing",
            (Some(_), _) => "payment-method-unknown",
            (None, Some(address)) if is_missing(address) => "delivery-address-missing",
            (None, _) => "delivery-address-unknown",
        };
        let title = "The order cannot be paid like that";
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title);
        let errors = refusal.card.into_iter().chain(refusal.address).collect();
        Self { errors, ..problem }
    }
}

const MISSING: &str = "required";

fn broken(field: &'static str, named: Option<Uuid>) -> FieldError {
    match named {
        Some(_) => FieldError::new(field, "known", "is none of yours; it may have been deleted"),
        None => FieldError::new(field, MISSING, "must be named: you have no default"),
    }
}

async fn ask(desk: Option<&Desk>, member: Uuid, named: Option<Uuid>) -> Answer {
    let Some(desk) = desk else { return Answer::Unanswered };
    let (answer, answered) = oneshot::channel();
    let wish = Wish { member_id: member, id: named };
    if desk.0.try_send(Question { wish, answer }).is_err() {
        return Answer::Unanswered;
    }
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(Some(id))) => Answer::Theirs(id),
        Ok(Ok(None)) => Answer::Nothing,
        Ok(Err(_)) | Err(_) => Answer::Unanswered,
    }
}

/// Collects the questions to one neighbour.
struct Desk(mpsc::Sender<Question>);

struct Question {
    wish: Wish,
    /// Dropped without an answer when there is none.
    answer: oneshot::Sender<Option<Uuid>>,
}

impl Desk {
    fn open(url: Url, name: &'static str, path: &'static str, token: &str) -> anyhow::Result<Self> {
        let client = Client::with_timeout(url, name, CALL_TIMEOUT)?;
        let (questions, asked) = mpsc::channel(QUEUE);
        tokio::spawn(put(client, path, token.to_owned(), asked));
        Ok(Self(questions))
    }
}

/// Puts questions to a neighbour. Those that came while it answered the last ones go together.
async fn put(client: Client, path: &'static str, token: String, mut asked: mpsc::Receiver<Question>) {
    let mut questions = Vec::with_capacity(MOST_WISHES);
    while asked.recv_many(&mut questions, MOST_WISHES).await > 0 {
        questions.retain(|question| !question.answer.is_closed());
        if questions.is_empty() {
            continue;
        }
        let wishes = questions.iter().map(|question| question.wish).collect();
        match tokio::time::timeout(PATIENCE, call(&client, path, &token, Wishes { wishes })).await {
            Ok(Ok(Choices { choices })) if choices.len() == questions.len() => {
                for (question, choice) in questions.drain(..).zip(choices) {
                    // Whoever has stopped waiting needs no answer.
                    let _ = question.answer.send(choice);
                }
            }
            Ok(Ok(_)) => tracing::error!(path, "a neighbour answered other questions than it was asked"),
            Ok(Err(error)) => tracing::debug!(%error, path, "a neighbour did not answer"),
            Err(_) => tracing::debug!(path, "a neighbour did not answer in time"),
        }
        metrics::counter!("order_choices_unanswered_total", "path" => path).increment(questions.len() as u64);
        questions.clear();
    }
}

async fn call(client: &Client, path: &str, token: &str, wishes: Wishes) -> anyhow::Result<Choices> {
    // The call only reads. The key says that it may be repeated.
    let call = Call::post(path).bearer(token).idempotency_key(Uuid::now_v7().to_string()).json(&wishes)?;
    Ok(client.call(call).await?)
}
