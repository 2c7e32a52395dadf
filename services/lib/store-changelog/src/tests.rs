mod chance;
mod conformance;
mod crash;
mod slow;
mod truth;
mod world;
