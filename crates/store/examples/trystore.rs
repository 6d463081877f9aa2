//! Scratch tool.
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let store = store::Store::open(std::path::Path::new(&args[1])).unwrap_or_else(|e| die(&e));
    for p in store.problems() { println!("problem: {p:?}"); }
    let lease = store.lease("try");
    let none = |_| {};
    match args[2].as_str() {
        "load" => for path in &args[3..] {
            let t = Instant::now();
            let mut f = std::fs::File::open(path).unwrap();
            match store.load(&lease, &mut f, &Default::default(), &none) {
                Ok(l) => println!("{path}: {l:?} in {:?}", t.elapsed()),
                Err(e) => println!("{path}: ERROR {}", spec::error::chain(&e)),
            }
        },
        "import" => {
            let t = Instant::now();
            let mut f = std::fs::File::open(&args[3]).unwrap();
            let o = store::ImportOptions { reference: args.get(4).map(|r| r.parse().unwrap()), changes: args[5..].to_vec(), ..Default::default() };
            match store.import(&lease, &mut f, &o, &none) {
                Ok(id) => println!("{id} in {:?}", t.elapsed()),
                Err(e) => println!("ERROR {}", spec::error::chain(&e)),
            }
        }
        "prepare" => {
            let t = Instant::now();
            let id = store.find(&args[3]).unwrap_or_else(|e| die(&e)).id;
            println!("{:?}", store.prepare(&lease, &args[4], id, &Default::default()));
            println!("{:?}", t.elapsed());
        }
        "rmi" => { let id = store.find(&args[3]).unwrap_or_else(|e| die(&e)).id; println!("{:?}", store.remove_image(id)); }
        "rms" => println!("{:?}", store.remove_snapshot(&args[3])),
        "usage" => println!("{:?}", store.usage(&args[3])),
        "ls" => { for i in store.images() { println!("{} {:?} {} {:?}", i.id, i.references, i.size, store.history(i.id)); } println!("{:?}", store.disk_usage()); }
        "fsck" => println!("{:#?}", store.fsck()),
        _ => {}
    }
}
fn die(e: &dyn std::error::Error) -> ! { eprintln!("{}", spec::error::chain(e)); std::process::exit(1) }
