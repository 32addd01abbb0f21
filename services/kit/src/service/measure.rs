//! How long requests take, by method, route and class of status.
//!
//! Looking up a histogram by its labels would build the labels for every request, so each thread keeps the
//! histograms it has used.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::Histogram;

/// The histograms of one route.
type Measured = Vec<(&'static str, &'static str, Histogram)>;

thread_local! {
    static BY_ROUTE: RefCell<HashMap<String, Measured>> = RefCell::default();
}

/// `route` is the pattern that matched, never the path that a caller made up.
pub(super) fn request(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let (method, class) = (known(method), class(status));
    BY_ROUTE.with_borrow_mut(|by_route| {
        if let Some(measured) = by_route.get(route)
            && let Some((.., histogram)) = measured.iter().find(|(m, c, _)| *m == method && *c == class)
        {
            return histogram.record(took);
        }
        let histogram = metrics::histogram!(
            "http_request_seconds",
            "method" => method, "route" => route.to_owned(), "status" => class
        );
        histogram.record(took);
        by_route.entry(route.to_owned()).or_default().push((method, class, histogram));
    });
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "1xx",
    }
}

/// Callers can make up methods, too.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
