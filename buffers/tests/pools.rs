//! Pools are bounded, reuse their buffers, and outlive their owners where they must.

use std::io::Write;

use corering_buffers::{FixedBuf, FixedPool, IoBufExt, IoBufMut, Pool, PoolBuf};

#[test]
fn a_pool_gives_no_more_buffers_than_it_has() {
    let pool = Pool::new(3, 64);
    assert_eq!(
        (pool.capacity(), pool.available(), pool.buf_size()),
        (3, 3, 64)
    );
    let mut bufs: Vec<PoolBuf> = std::iter::from_fn(|| pool.take()).take(99).collect();
    assert_eq!((bufs.len(), pool.available()), (3, 0));

    let clone = pool.clone();
    assert!(clone.take().is_none(), "a clone is the same pool");
    bufs.pop();
    assert_eq!(pool.available(), 1);
    assert!(clone.take().is_some());
    assert!(Pool::new(0, 64).take().is_none());
}

#[test]
fn a_pool_reuses_its_buffers_and_they_come_empty() {
    let pool = Pool::new(1, 64);
    let mut buf = pool.take().unwrap();
    assert_eq!((buf.len(), buf.capacity()), (0, 64));
    buf.write_all(b"secret").unwrap();
    buf[0] = b'S';
    assert_eq!(&buf[..], b"Secret");
    let address = buf.as_ptr();
    drop(buf);

    let mut buf = pool.take().unwrap();
    assert_eq!((buf.as_ptr(), buf.len()), (address, 0));
    assert_eq!(buf.write(&[7; 100]).unwrap(), 64, "it does not grow");
    assert_eq!(buf.parts_mut(), (address.cast_mut(), 64));
    buf.truncate(3);
    assert_eq!(&buf[..], [7; 3]);
    buf.clear();
    assert!(buf.is_empty());
}

#[test]
fn a_pool_buffer_may_come_back_after_the_pool_is_gone() {
    let pool = Pool::new(2, 64);
    let mut buf = pool.take().unwrap();
    drop(pool);
    buf.write_all(b"still here").unwrap();
    assert_eq!(&buf[..], b"still here");
    drop(buf);
}

#[test]
fn a_buffer_that_is_sliced_or_appended_to_still_comes_back() {
    let pool = Pool::new(1, 64);
    let part = pool.take().unwrap().slice(..10);
    assert_eq!(pool.available(), 0);
    drop(part.into_inner().spare());
    assert_eq!(pool.available(), 1);
}

#[test]
#[should_panic(expected = "without room")]
fn a_pool_of_empty_buffers_is_refused() {
    let _ = Pool::new(1, 0);
}

#[test]
fn fixed_buffers_are_those_that_were_registered() {
    let pool = FixedPool::new(4, 4096);
    assert_eq!(
        (pool.capacity(), pool.available(), pool.buf_size()),
        (4, 4, 4096)
    );
    let parts: Vec<(*mut u8, usize)> = pool.parts().collect();
    assert_eq!(parts[0].0 as usize % 4096, 0, "page-aligned");
    for (index, &(ptr, len)) in parts.iter().enumerate() {
        assert_eq!(
            (ptr as usize, len),
            (parts[0].0 as usize + index * 4096, 4096)
        );
    }

    let mut bufs: Vec<FixedBuf> = std::iter::from_fn(|| pool.take()).take(99).collect();
    assert!(bufs.len() == 4 && pool.available() == 0);
    for (index, buf) in bufs.iter_mut().enumerate() {
        assert_eq!(
            (usize::from(buf.index()), buf.parts_mut()),
            (index, parts[index])
        );
        assert_eq!(
            buf.write(&[index as u8; 5000]).unwrap(),
            4096,
            "it does not grow"
        );
    }
    for (index, buf) in bufs.iter().enumerate() {
        assert_eq!(&buf[..], [index as u8; 4096], "nobody wrote into it");
    }
    let freed = bufs.remove(2);
    drop(freed);
    let again = pool.take().unwrap();
    assert_eq!(
        (again.index(), again.len()),
        (2, 0),
        "empty, whatever was in it"
    );
}

#[test]
fn fixed_memory_lives_as_long_as_a_buffer() {
    let pool = FixedPool::new(2, 64);
    let mut buf = pool.take().unwrap();
    drop(pool);
    buf.write_all(b"still here").unwrap();
    buf[0] = b'S';
    buf.truncate(5);
    assert_eq!(&buf[..], b"Still");
    buf.clear();
    assert!(buf.is_empty());
}

#[test]
fn a_fixed_pool_without_buffers_has_nothing_to_register() {
    let pool = FixedPool::new(0, 64);
    assert!(pool.parts().next().is_none() && pool.take().is_none());
}

#[test]
fn fixed_pools_that_the_kernel_would_refuse_panic() {
    let panics = |count, size| std::panic::catch_unwind(|| FixedPool::new(count, size)).is_err();
    assert!(panics(1, 0) && panics(1, FixedPool::SIZE_MAX + 1));
    assert!(panics(FixedPool::COUNT_MAX + 1, 64));
    assert!(
        !panics(FixedPool::COUNT_MAX, FixedPool::SIZE_MAX),
        "nothing is allocated yet"
    );
}
