use pushgrid_types::Rng;

/// Random number from 0 to 1.
pub(crate) fn fraction(rng: &dyn Rng) -> f64 {
    let mut octets = [0; 4];
    rng.fill(&mut octets);
    f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX)
}
