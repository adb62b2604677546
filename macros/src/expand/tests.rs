use proc_macro2::TokenStream;
use quote::quote;

use super::{main, test};

#[track_caller]
fn assert_tokens(actual: TokenStream, expected: TokenStream) {
    assert_eq!(actual.to_string(), expected.to_string());
}

/// The texts of the errors in an expansion.
fn errors(expansion: TokenStream) -> Vec<String> {
    let text = expansion.to_string();
    let messages = text.split("compile_error ! { \"").skip(1);
    messages
        .map(|rest| rest[..rest.find("\" }").expect("closed")].replace("\\\"", "\""))
        .collect()
}

#[test]
fn main_runs_the_function_itself_on_a_new_runtime() {
    let function = quote! {
        /// Docs.
        #[allow(dead_code)]
        pub async fn main() -> io::Result<()> {
            serve().await?;
            Ok(())
        }
    };
    let expected = quote! {
        /// Docs.
        #[allow(dead_code)]
        pub fn main() -> io::Result<()> {
            #[allow(clippy::unused_async)]
            async fn main() -> io::Result<()> {
                serve().await?;
                Ok(())
            }
            match ::corering::Runtime::new() {
                ::std::result::Result::Ok(runtime) => runtime.block_on(main()),
                ::std::result::Result::Err(error) => {
                    ::std::eprintln!("Error: {error}");
                    ::std::process::exit(1)
                }
            }
        }
    };
    assert_tokens(main(TokenStream::new(), function), expected);
}

#[test]
fn a_test_keeps_its_attributes_and_fails_without_a_runtime() {
    let function = quote! {
        #[ignore]
        async fn it_works() -> Result<(), Error> { check().await }
    };
    let expected = quote! {
        #[::core::prelude::v1::test]
        #[ignore]
        fn it_works() -> Result<(), Error> {
            #[allow(clippy::unused_async)]
            async fn it_works() -> Result<(), Error> { check().await }
            match ::corering::Runtime::new() {
                ::std::result::Result::Ok(runtime) => runtime.block_on(it_works()),
                ::std::result::Result::Err(error) => ::std::panic!("no runtime: {error}")
            }
        }
    };
    assert_tokens(test(TokenStream::new(), function), expected);
}

#[test]
fn a_test_that_should_panic_does_not_pass_for_want_of_a_runtime() {
    let function = quote! {
        #[should_panic(expected = "broken")]
        async fn it_breaks() { panic!("broken") }
    };
    let expected = quote! {
        #[::core::prelude::v1::test]
        #[should_panic(expected = "broken")]
        fn it_breaks() {
            #[allow(clippy::unused_async)]
            async fn it_breaks() { panic!("broken") }
            match ::corering::Runtime::new() {
                ::std::result::Result::Ok(runtime) => runtime.block_on(it_breaks()),
                ::std::result::Result::Err(error) => {
                    let text = ::std::format!("no runtime: {error}\n");
                    let _ = ::std::io::Write::write_all(
                        &mut ::std::io::stderr(),
                        text.as_bytes()
                    );
                    ::std::process::exit(1)
                }
            }
        }
    };
    assert_tokens(test(TokenStream::new(), function), expected);
}

#[test]
fn the_crate_may_have_another_name() {
    let expansion = main(
        quote!(crate = "my::ring"),
        quote!(
            async fn main() {}
        ),
    )
    .to_string();
    assert!(
        expansion.contains("match my :: ring :: Runtime :: new ()"),
        "{expansion}"
    );
    let expansion = test(
        quote!(crate = "ring",),
        quote!(
            async fn t() {}
        ),
    )
    .to_string();
    assert!(
        expansion.contains("match ring :: Runtime :: new ()"),
        "{expansion}"
    );
}

#[test]
fn what_cannot_be_run_is_refused_with_a_reason() {
    let cases = [
        (
            quote!(
                fn main() {}
            ),
            "the function has to be async: `async fn main()`",
        ),
        (
            quote!(
                async fn main(n: u32) {}
            ),
            "nobody would give it arguments",
        ),
        (
            quote!(
                async fn main<T>() {}
            ),
            "it cannot be generic: nobody would say for what",
        ),
        (
            quote!(
                async fn main()
                where
                    u8: Copy,
                {
                }
            ),
            "it cannot have a where clause",
        ),
        (
            quote!(
                async unsafe fn main() {}
            ),
            "it cannot be unsafe",
        ),
        (
            quote!(
                async extern "C" fn main() {}
            ),
            "it cannot have an ABI of its own",
        ),
    ];
    for (function, reason) in cases {
        assert_eq!(errors(main(TokenStream::new(), function.clone())), [reason]);
        assert_eq!(errors(test(TokenStream::new(), function)), [reason]);
    }
}

#[test]
fn every_complaint_is_made_at_once() {
    let found = errors(main(
        quote!(threads = 4),
        quote!(
            fn main<T>(t: T) {}
        ),
    ));
    let expected = [
        "the function has to be async: `async fn main()`",
        "nobody would give it arguments",
        "it cannot be generic: nobody would say for what",
        "unknown option: `cores = 4`, `cores = \"all\"` or `crate = \"path\"`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn unknown_and_broken_options_are_refused() {
    let run = |options| {
        errors(main(
            options,
            quote!(
                async fn main() {}
            ),
        ))
    };
    let unknown = "unknown option: `cores = 4`, `cores = \"all\"` or `crate = \"path\"`";
    assert_eq!(run(quote!(flavor = "x")), [unknown]);
    assert_eq!(run(quote!(crate = "a", worker_threads = 2)), [unknown]);
    assert_eq!(run(quote!(crate)).len(), 1);
    assert_eq!(run(quote!(crate = 5)).len(), 1);
    assert_eq!(run(quote!(crate = "not a path")).len(), 1);
    assert_eq!(run(quote!(crate = "a" crate = "b")).len(), 1);
}

#[test]
fn a_broken_main_is_still_a_main() {
    let expansion = main(
        TokenStream::new(),
        quote!(
            fn main() {}
        ),
    )
    .to_string();
    assert!(expansion.ends_with("fn main () { }"), "{expansion}");
    let expansion = main(
        TokenStream::new(),
        quote!(
            struct Main;
        ),
    )
    .to_string();
    assert!(expansion.ends_with("fn main () { }"), "{expansion}");
}

#[test]
fn a_second_test_attribute_is_refused() {
    let expansion = test(
        TokenStream::new(),
        quote!(
            #[test]
            async fn twice() {}
        ),
    );
    assert_eq!(errors(expansion), ["`#[test]` is added by this attribute"]);
}

#[test]
fn main_runs_on_the_cores_that_are_asked_for() {
    let function = quote! {
        async fn main(core: Core) -> io::Result<()> { serve(core).await }
    };
    for (option, made) in [
        (quote!(cores = "all"), quote!(::corering::Cores::all())),
        (quote!(cores = 4), quote!(::corering::Cores::count(4))),
    ] {
        let expected = quote! {
            fn main() -> io::Result<()> {
                #[allow(clippy::unused_async)]
                async fn main(core: Core) -> io::Result<()> { serve(core).await }
                match #made {
                    ::std::result::Result::Ok(runtime) => runtime.run(main),
                    ::std::result::Result::Err(error) => {
                        ::std::eprintln!("Error: {error}");
                        ::std::process::exit(1)
                    }
                }
            }
        };
        assert_tokens(main(option, function.clone()), expected);
    }
}

#[test]
fn a_main_on_cores_takes_its_core_and_a_test_has_none() {
    let without = main(
        quote!(cores = 2),
        quote!(
            async fn main() {}
        ),
    );
    assert_eq!(
        errors(without),
        ["it is given its core: `async fn main(core: Core)`"]
    );
    let few = main(
        quote!(cores = "few"),
        quote!(
            async fn main() {}
        ),
    );
    assert_eq!(errors(few), ["a number of cores, or \"all\""]);
    let of_test = test(
        quote!(cores = 2),
        quote!(
            async fn it_works() {}
        ),
    );
    assert!(errors(of_test)[0].starts_with("unknown option"));
}
