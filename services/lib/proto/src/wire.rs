//! The messages and services of the `.proto` files, which document them. All of it is generated.

macro_rules! packages {
    ($($name:ident = $package:literal;)*) => {
        $(
            #[doc = concat!("Package `", $package, "`.")]
            pub mod $name {
                /// The first version.
                pub mod v1 {
                    tonic::include_proto!($package);
                }
            }
        )*
    };
}

packages! {
    stored = "pushgrid.stored.v1";
    router = "pushgrid.router.v1";
    node = "pushgrid.node.v1";
}
