//! The log and the changelog over Apache Kafka.
