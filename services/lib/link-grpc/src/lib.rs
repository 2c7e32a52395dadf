//! The links between routers and connection nodes over gRPC.
