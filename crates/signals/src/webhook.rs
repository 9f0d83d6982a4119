//! The webhook's request, when there is to be one.

use http::Method;

use crate::http::Ask;
use crate::run::{Ended, Run};
use crate::settings::{On, Webhook};

/// The request about a run; none when it went well and only failures are asked for.
pub(crate) fn end(webhook: &Webhook, run: &Run, ended: &Ended) -> Option<Ask> {
    let wanted = webhook.on == On::Always || !ended.ok();
    wanted.then(|| Ask {
        method: Method::POST,
        to: webhook.endpoint.clone(),
        content_type: "application/json",
        body: webhook.template.render(run, ended),
    })
}
