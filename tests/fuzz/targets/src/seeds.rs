//! Seeds: good objects of every format, made by the product's own code, and published examples.
//! Keys are public constants, names synthetic. The example program `seeds` writes them into the
//! corpus; the replay test runs them as well, so that they follow the formats.

mod log;
mod wire;

use crate::{export, world};
use openssl::x509::{X509, X509Req};
use passerelle_agent::{csr::new_key_and_csr, seal::SealingKeys};
use passerelle_audit::{
    fork::ForkProof,
    merkle::{Tree, leaf_hash},
    tlog_proof::TlogProof,
    witness::AddCheckpoint,
};
use passerelle_broker::ca::CertificateAuthority;
use passerelle_proto::invitation::Invitation;

/// A target, the name of a seed, and its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// The bytes after a byte that says which sibling they are for.
fn of(kind: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&[kind], bytes.as_ref()].concat()
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target: &'static str, list: Vec<Vec<u8>>| {
        for (number, bytes) in list.into_iter().enumerate() {
            seeds.push((target, format!("seed-{number:02}"), bytes));
        }
    };
    add("canonical", canonical());
    add("certificate", certificates());
    add("checkpoint", checkpoints());
    add("config", configs());
    add("consent", crate::consent::seeds());
    add("csv", csvs());
    add("decide", log::decisions());
    add("entry", log::entries());
    add("export", vec![of(0, export::good().0), of(1, [3; 24])]);
    add("frames", wire::frames());
    add("journal", journals());
    add("keys", keys());
    add("mapping", mappings());
    add("note", notes());
    add("notice", wire::notices());
    add("oprf", oprfs());
    add("policy", policies());
    add("proof", proofs());
    add("sealed", sealed());
    add("statement", log::statements());
    add("text", texts());
    add("tiles", tiles());
    add("tlog_policy", tlog_policies());
    seeds
}

fn canonical() -> Vec<Vec<u8>> {
    // The second is the example of RFC 8785, section 3.2.3, its number without a fraction.
    [
        "{\"a\":[1,-2,true,false,null,\"x\"],\"b\":{}}",
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"O\",\
         \"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Smiley\",\"\u{fb33}\":\"Hebrew\"}",
        "{\"a\":9007199254740991,\"b\":18446744073709551615,\"c\":-9223372036854775808}",
        "\"\\u0000\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}\"",
        "[1.5,1e3,-0,01]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn certificates() -> Vec<Vec<u8>> {
    let (_, text) = new_key_and_csr(&world::member(0)).unwrap();
    let der = X509Req::from_pem(text.as_bytes())
        .unwrap()
        .to_der()
        .unwrap();
    let authority =
        CertificateAuthority::create(&world::federation(), world::NOW, [2; 16]).unwrap();
    let token = passerelle_model::bytes::Digest([3; 32]);
    let issued = authority
        .issue_agency(&text, &world::member(0), &token, world::NOW, 86_400)
        .unwrap();
    let peer = X509::from_pem(issued.pem.as_bytes()).unwrap();
    let root = authority.certificate_pem().unwrap();
    vec![
        of(0, &text),
        of(1, &der),
        of(2, peer.to_der().unwrap()),
        of(3, root),
        of(3, issued.pem),
    ]
}

fn checkpoints() -> Vec<Vec<u8>> {
    let tree = tree(5);
    let head = world::head(&tree, 0b111);
    let request = AddCheckpoint {
        old_size: 3,
        proof: tree.consistency_proof(3, 5).unwrap(),
        checkpoint: world::head(&tree, 0).note().clone(),
    };
    vec![
        of(0, head.checkpoint().to_string()),
        of(1, head.note().to_string()),
        of(1, world::head(&tree, 0b010).note().to_string()),
        of(2, request.to_string()),
        of(3, [5, 6, 0, 0, 9, 1, 7, 7, 7, 7, 7, 7]),
        of(3, [0, 3, 1, 0, 40, 65]),
        of(3, [8, 0, 0, 0, 12, 1]),
    ]
}

fn tree(size: u8) -> Tree {
    let mut tree = Tree::new();
    for index in 0..size {
        tree.push(leaf_hash(&[index]));
    }
    tree
}

fn configs() -> Vec<Vec<u8>> {
    let person = "family_name = \"Uapishtan-Leblanc\"\ngiven_name = \"Noémie\"\n\
                  birth_date = \"2003-01-23\"\nsex = \"female\"\n";
    let json = "{\"family_name\":\"Ka\",\"given_name\":\"Lo\",\"birth_date\":\"1999-12-31\"}";
    vec![
        of(0, include_str!("../../../../docs/examples/agent.toml")),
        of(0, "broker = \"b:1\"\nlocal_policy = \"p\"\nworkers = []\n"),
        of(1, include_str!("../../../../docs/examples/broker.toml")),
        of(1, "federation = \"nord\"\n"),
        of(2, person),
        of(2, json),
    ]
}

const POLICE: &str = include_str!("../../../../src/demo/data/police.csv");
const HEALTH: &str = include_str!("../../../../src/demo/data/health.csv");
const COMMUNITY: &str = include_str!("../../../../src/demo/data/community.csv");
const SHORT: &str = "id|f|g|b|p|c|t|d|s|r\n1|Ka|Lo|1999-12-31|yes|violence|x|31/12/2020|1|no\n\
                     2|\"Lo|u\"|Ma|2001-02-03|no||||0|oui\n";

fn head(file: &str) -> String {
    file.split_inclusive('\n').take(4).collect()
}

fn csvs() -> Vec<Vec<u8>> {
    vec![
        of(0, head(POLICE)),
        of(1, head(HEALTH)),
        of(2, head(COMMUNITY)),
        of(3, SHORT),
        of(3, SHORT.replace('\n', "\r\n")),
        of(
            3,
            format!("\u{feff}{SHORT}1|Ka|Lo|1999-12-31|yes|violence|||1|no\n"),
        ),
    ]
}

fn mappings() -> Vec<Vec<u8>> {
    let pair = |mapping: &str, file: &str| [mapping.as_bytes(), &[0], file.as_bytes()].concat();
    vec![
        pair(
            include_str!("../../../../src/demo/data/police.toml"),
            &head(POLICE),
        ),
        pair(
            include_str!("../../../../src/demo/data/health.toml"),
            &head(HEALTH),
        ),
        pair(include_str!("../data/short.toml"), SHORT),
    ]
}

fn journals() -> Vec<Vec<u8>> {
    let mut edited = of(0, [0b0000, 2, 0, 0, 0, 60, 1, 0]);
    edited.extend([
        2, 5, 3, 1, 2, 3, 4, 5, 6, 7, 8, 4, 4, 9, 9, 9, 9, 8, 8, 8, 8,
    ]);
    let mut unmarked = edited.clone();
    unmarked[1] = 0b0101;
    let mut small = edited.clone();
    small[1] = 0b0010;
    let composed = of(
        1,
        [0, 3, 2, 1, 2, 3, 4, 5, 0, 1, 0, 7, 5, 0, 0, 0, 0, 1, 6, 9],
    );
    let torn = of(1, [0, 3, 2, 1, 2, 3, 4, 5, 0, 1, 0, 7, 0x7f]);
    let large = of(1, [0, 1, 1, 1, 2, 5, 0, 255, 0, 63, 0, 0, 2, 2, 1, 1, 1, 1]);
    vec![edited, unmarked, small, composed, torn, large]
}

fn keys() -> Vec<Vec<u8>> {
    let key = world::key(9);
    let mut scalar = [0; 32];
    scalar[0] = 7;
    let sealing = SealingKeys::from_bytes(&[5; 32]).unwrap();
    let membership = format!(
        "{{\"federation\":\"nord\",\"agency\":\"police-nord\",\"sector\":\"law_enforcement\",\
         \"checkpoint_key\":\"{}\",\"permit_key\":\"{}\",\"oprf_key\":\"{}\",\"joined\":3}}",
        world::signer().verifier_key(),
        key.public_key(),
        key.public_key(),
    );
    vec![
        of(0, key.to_pkcs8_pem().unwrap().as_bytes()),
        of(1, scalar),
        of(2, sealing.to_bytes()),
        of(3, key.public_key().0),
        of(3, [0; 32]),
        of(4, key.public_key().to_hex()),
        of(5, membership),
    ]
}

fn notes() -> Vec<Vec<u8>> {
    // The example of the Go documentation of golang.org/x/mod/sumdb/note.
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\n\
                — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let lines = world::head(&tree(3), 0b11).note().signatures().to_vec();
    let lines: String = lines.iter().map(ToString::to_string).collect();
    vec![
        of(0, note),
        of(0, world::head(&tree(3), 0b11).note().to_string()),
        of(1, key),
        of(1, world::signer().verifier_key().to_string()),
        of(1, world::witnesses()[0].to_string()),
        of(2, lines),
        of(3, [&[0, 0, 9, 1][..], b"a text\nto sign\n"].concat()),
        of(3, [&[5, 0, 20, 99][..], "an é\n\n\n".as_bytes()].concat()),
    ]
}

fn tlog_policies() -> Vec<Vec<u8>> {
    let log = world::signer().verifier_key().to_string();
    let keys = world::witnesses();
    let [one, two, three] = [0, 1, 2].map(|n| keys[n].to_string());
    // The second has the shape of the example of tlog-policy: two levels of groups.
    let head = format!("log {log}\nwitness a {one}\nwitness b {two} http://192.0.2.7:8080\n");
    [
        (0, "quorum none\n".to_owned()),
        (
            3,
            format!(
                "# people\n{head}group x 2 a b\n\twitness c\t{three}\ngroup y any c\n\n\
                 group z all x y\nquorum z\n"
            ),
        ),
        (1, format!("{head}quorum b\n")),
        (
            2,
            format!("witness \u{e9} {one}\ngroup \u{212a} 1 \u{e9}\nquorum \u{212a}\n"),
        ),
        (7, format!("{head}group x any a x\nquorum x\n")),
        (7, format!("{head}group x 3 a b\nquorum x\n")),
    ]
    .map(|(cosigners, text)| of(cosigners, text))
    .into()
}

fn oprfs() -> Vec<Vec<u8>> {
    // The generator of ristretto255, and the encodings that RFC 9496, A.2, refuses begin so.
    let generator = [
        0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51,
        0x5f, 0x58, 0xe3, 0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d,
        0x2d, 0x76,
    ];
    vec![
        of(0, [&[0][..], &generator].concat()),
        of(0, [&[0][..], &generator, &generator].concat()),
        of(0, [&[32][..], &[0; 32]].concat()),
        of(0, [&[33][..], &generator, &[0]].concat()),
        of(0, [&[0][..], &[0xff; 32]].concat()),
        of(1, [1, 0, 0, 0, 5, 3, 1, 2, 3, 4]),
        of(1, [2, 9, 2, 0, 9, 1, 1, 2, 3, 4]),
        of(2, [&[0][..], &[7; 64], &generator].concat()),
        of(2, [&[1][..], &generator, &[7; 64], &generator].concat()),
    ]
}

fn policies() -> Vec<Vec<u8>> {
    let own = "@id(\"no-police\") @outcome(\"decline\")\nforbid (principal, action, resource)\n\
               when { principal.sector == Sector::\"law_enforcement\" };\n";
    let more = "@id(\"tenure\")\nforbid (principal, action == Action::\"answer\", resource)\n\
                unless { resource.category == CategoryCode::\"in_service\" };\n";
    let mut seeds = vec![of(0, own), of(0, [own, more].concat()), of(0, "")];
    for (number, (_, text)) in (128..).zip(passerelle_policies::embedded_files()) {
        // The large ones cost the most and teach the least.
        if text.len() < 6_000 {
            seeds.push(of(number, text));
        }
    }
    // Small, and no rules: what is in a bundle file is looked at when it is loaded.
    let texts = [("texts.toml".to_owned(), "a = 1\n".to_owned())];
    let small = passerelle_policies::Bundle::founding(texts.into()).unwrap();
    seeds.push(of(255, small.to_bytes().unwrap()));
    seeds
}

fn proofs() -> Vec<Vec<u8>> {
    let tree = tree(7);
    let hashes = tree.inclusion_proof(4, 7).unwrap();
    let note = world::head(&tree, 0b111).note().clone();
    let proof = TlogProof::new(4, hashes, note.clone()).unwrap();
    let extra = proof.clone().with_extra(b"extra".to_vec()).unwrap();
    let single = TlogProof::new(0, Vec::new(), note).unwrap();
    let other: Tree = (0..9_u8).map(|n| leaf_hash(&[n, 77])).collect();
    let (honest, forked) = (world::head(&tree, 0), world::head(&other, 0));
    let log = world::signer().verifier_key().clone();
    let fork = ForkProof::of(&honest, &forked, &log, &other).unwrap();
    let path = [
        &7_u64.to_be_bytes()[..],
        &4_u64.to_be_bytes(),
        &[9; 32],
        &[1, 2, 3],
    ]
    .concat();
    let deep = [&[0x7f][..], &[0xff; 7], &[1; 8], &[9; 32], &[4; 63]].concat();
    vec![
        of(0, proof.to_string()),
        of(0, extra.to_string()),
        of(0, single.to_string()),
        of(1, path),
        of(1, deep),
        of(
            2,
            [6, 4, 7, 0, 0, 3, 1, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 60, 1],
        ),
        of(2, [12, 11, 3, 2, 0, 1, 65, 1, 2, 3]),
        of(3, fork.to_string()),
    ]
}

fn sealed() -> Vec<Vec<u8>> {
    let context = "{\"justification\":\"because\",\"worker\":\"w-1\",\"openings\":[{\"field\":\"worker\",\
                   \"random\":\"0101010101010101010101010101010101010101010101010101010101010101\",\
                   \"data\":\"dy0x\"}]}";
    let answer = "{\"outcome\":\"released\",\"opening\":{\"field\":\"outcome\",\
                  \"random\":\"0101010101010101010101010101010101010101010101010101010101010101\",\
                  \"data\":\"cmVsZWFzZWQ=\"},\"items\":[{\"category\":\"in_service\",\
                  \"level\":\"known\",\"values\":[{}]}],\"obligations\":[{\"retain_days\":30}]}";
    vec![
        of(0, [0; 80]),
        of(1, [&[0, 0, 0, 40, 2][..], b"content"].concat()),
        of(1, [&[1, 4, 9, 40, 2][..], b"more content"].concat()),
        of(2, [0, 0, 0, 3, 1, 2, 3]),
        of(2, [0, 0, 0, 2, 1, 2, 3]),
        of(2, [255, 255, 255, 255]),
        of(3, context),
        of(4, answer),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let invitation = Invitation {
        ca_fingerprint: passerelle_model::bytes::Digest([1; 32]),
        secret: [2; 32],
    };
    let id = "0123456789abcdef0123456789abcdef";
    vec![
        of(0, invitation.to_text()),
        of(1, "2024-02-29"),
        of(2, "DD/MM/YYYY\n29/02/2024\n31/04/2024"),
        of(2, "YYYY.MM\n2024.12"),
        of(3, "2026-11-21T14:03:09Z"),
        of(3, "2026-11-21"),
        of(4, "Élodie Œuvrard-Lessard d'Åse ᐱᓯᒼ"),
        of(4, "Non-binaire"),
        of(5, "police-nord"),
        of(5, format!("req-{id}")),
        of(5, format!("consent-{id}")),
        of(5, "law_enforcement"),
        of(5, "FIPPA-42(1)h"),
        of(6, "Uapishtan-Leblanc\nNoémie\n2003-01-23"),
    ]
}

fn tiles() -> Vec<Vec<u8>> {
    let bundle = passerelle_audit::tiles::encode_bundle([&b"one"[..], b"", b"three"]).unwrap();
    vec![
        of(0, "tile/0/x001/x234/067"),
        of(0, "tile/entries/000.p/255"),
        of(0, "tile/63/x018/x446/x744/x073/x709/x551/615"),
        of(1, [&[0, 2][..], &[7; 64]].concat()),
        of(2, [&[0, 3][..], &bundle].concat()),
        of(3, [0, 3, 2, 188]),
        of(3, [1, 0, 1, 1]),
    ]
}
