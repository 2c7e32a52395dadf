# What people who work on pushgrid do more than once. `just --list` shows them.

# Build the command for use
build:
    cargo build --release --locked

# Run everything in one process, and show one message's life
demo:
    cargo run --release --locked -- demo

# All tests, as continuous integration runs them; or some parts: just test unit wire
test *parts:
    tests/run {{ parts }}

# All random tests, run long, before a release; or some: just random every_message
random *names:
    nice tests/random {{ names }}

# Format, lint and document
check:
    tests/run format lint docs

# Licences, sources and who may use which driver (needs cargo-deny)
deny:
    cargo deny --locked check bans licenses sources

# Write the references that are made from the code and the tests
references:
    cargo run --locked --quiet -- config env > services/CONFIGURATION.md
    cargo run --locked --quiet -- config metrics > services/METRICS.md
    PUSHGRID_TEST_WRITE=1 cargo test --workspace --locked --test it -- structure::conformance

# Measure a server process of its own, from start to end
bench:
    tests/bench/run

# The same for a grid, with a Kafka and a Redis of its own
bench-grid:
    tests/bench/grid

# A whole grid on this machine: just grid up, just grid status, just grid down --servers
grid *what:
    deploy/local/grid {{ what }}
