use http::StatusCode;
use metrics::{Counter, Histogram};
use pushgrid_runtime::metrics::{self as names, Meter};

/// The metrics of an ingress. Nearly every answer finds its metric's handle ready.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) seconds: Histogram,
    created: Counter,
}

impl Figures {
    pub(crate) fn new(meter: &Meter) -> Self {
        Self {
            seconds: meter.histogram(&names::INGRESS_REQUEST_SECONDS, &[]),
            created: meter.counter(&names::INGRESS_REQUESTS, &[("route", "push"), ("status", "201")]),
        }
    }

    pub(crate) fn answered(&self, meter: &Meter, route: &'static str, status: StatusCode) {
        if status == StatusCode::CREATED {
            return self.created.increment(1);
        }
        let status = match status.as_u16() {
            204 => "204",
            400 => "400",
            401 => "401",
            403 => "403",
            404 => "404",
            405 => "405",
            408 => "408",
            410 => "410",
            413 => "413",
            429 => "429",
            503 => "503",
            _ => "other",
        };
        meter.counter(&names::INGRESS_REQUESTS, &[("route", route), ("status", status)]).increment(1);
    }

    /// Counts a refused message, under the label of the reason.
    pub(crate) fn refused(meter: &Meter, reason: &'static str) {
        meter.counter(&names::INGRESS_REFUSED, &[("reason", reason)]).increment(1);
    }

    /// Counts an invalid VAPID token.
    pub(crate) fn vapid_refused(meter: &Meter) {
        meter.counter(&names::VAPID_VERIFICATIONS, &[("result", "refused")]).increment(1);
    }
}
