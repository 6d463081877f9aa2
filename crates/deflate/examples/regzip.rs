//! Compresses standard input by a recipe, or says which recipes fit a file.
//!
//! `regzip '<recipe>' < plain > file.gz` and `regzip identify file.gz < plain`.

use std::error::Error;
use std::io::{self, Read, Write};

use deflate::{Encoder, PREFIX_SIZE, Recipe, survivors};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments
        .next()
        .ok_or("a recipe or `identify` is missing")?;
    if first == "identify" {
        let path = arguments.next().ok_or("a file is missing")?;
        let (mut compressed, mut plain) = (Vec::new(), Vec::new());
        let size = u64::try_from(PREFIX_SIZE)?;
        std::fs::File::open(path)?
            .take(size)
            .read_to_end(&mut compressed)?;
        io::stdin().take(size).read_to_end(&mut plain)?;
        for recipe in survivors(&compressed, &plain) {
            println!("{recipe}");
        }
        return Ok(());
    }
    let recipe: Recipe = first.parse()?;
    let mut encoder = Encoder::new(io::stdout().lock(), &recipe);
    io::copy(&mut io::stdin().lock(), &mut encoder)?;
    encoder.finish()?.flush()?;
    Ok(())
}
