use pushgrid_types::cast::saturating;

/// A count as the value of a gauge. Exact below 2^52, which no count of things that are there reaches.
#[expect(clippy::cast_precision_loss, reason = "counts of things that are there are far below 2^52")]
pub fn level(count: impl TryInto<u64> + PartialOrd + Default) -> f64 {
    saturating::<u64>(count) as f64
}
