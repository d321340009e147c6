//! `cargo xtask sim`: random plans under a simulated clock against an oracle.
//! It does not know how the core decides.

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct SimArgs {
    /// How many worlds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Plant every fault and count the worlds until it is caught.
    #[arg(long)]
    mutants: bool,
}

/// Runs the simulation.
pub(crate) fn main(args: SimArgs) -> anyhow::Result<()> {
    anyhow::bail!("the simulation is not here yet ({} seeds, mutants: {})", args.seeds, args.mutants)
}
