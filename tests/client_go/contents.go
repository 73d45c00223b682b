package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc64"
	"sort"

	"github.com/tikv/client-go/v2/rawkv"
)

var (
	// lowest is where the first region begins.
	lowest = []byte{}
	// highest is beyond every key of these checks.
	highest = bytes.Repeat([]byte{0xff}, 8)
)

// contents is what the default column family must hold.
type contents map[string][]byte

// fill puts as many pairs in one batch.
func fill(ctx context.Context, client *rawkv.Client, name family, count int) (contents, error) {
	keys, values, filled := name.keys(count), make([][]byte, count), contents{}
	for at, key := range keys {
		values[at] = bytes.Repeat([]byte(fmt.Sprintf("value %d of %s;", at, name)), at%7)
		filled[string(key)] = values[at]
	}
	if err := client.BatchPut(ctx, keys, values); err != nil {
		return nil, fmt.Errorf("batch put of %d pairs: %w", count, err)
	}
	return filled, nil
}

// matches checks the whole column family, from the first key to the last and back.
func (c contents) matches(ctx context.Context, client *rawkv.Client) error {
	return c.scans(ctx, client, lowest, highest, rawkv.MaxRawKVScanLimit)
}

// scans checks a scan from one key to another, with values and without, and the scan back. A scan without an end has no
// way back: the client cannot find the last region.
func (c contents) scans(ctx context.Context, client *rawkv.Client, from, to []byte, limit int) error {
	pairs := c.between(from, to)
	keys, values, err := client.Scan(ctx, from, to, limit)
	if err := pairs.first(limit).equal(keys, values, err); err != nil {
		return fmt.Errorf("scan of %d from %q to %q: %w", limit, from, to, err)
	}
	keys, _, err = client.Scan(ctx, from, to, limit, rawkv.ScanKeyOnly())
	if err := pairs.first(limit).equal(keys, nil, err); err != nil {
		return fmt.Errorf("scan of %d keys from %q to %q: %w", limit, from, to, err)
	}
	if len(to) == 0 {
		return nil
	}
	keys, values, err = client.ReverseScan(ctx, to, from, limit)
	if err := pairs.reversed().first(limit).equal(keys, values, err); err != nil {
		return fmt.Errorf("scan back of %d from %q to %q: %w", limit, to, from, err)
	}
	return nil
}

// answers checks a batch of reads, whose answers come in the order of the keys.
func (c contents) answers(ctx context.Context, client *rawkv.Client, keys [][]byte) error {
	values, err := client.BatchGet(ctx, keys)
	if err != nil {
		return fmt.Errorf("batch get of %d keys: %w", len(keys), err)
	}
	for at, key := range keys {
		wanted, there := c[string(key)]
		if !there {
			wanted = nil
		}
		if !same(values[at], wanted) {
			return mismatchf("%q is %s instead of %s in a batch", key, show(values[at]), show(wanted))
		}
	}
	return nil
}

func (c contents) checksum(from, to []byte) rawkv.RawChecksum {
	var sum rawkv.RawChecksum
	for _, pair := range c.between(from, to) {
		digest := crc64.New(crc64.MakeTable(crc64.ECMA))
		digest.Write(pair.key)
		digest.Write(pair.value)
		sum.Crc64Xor ^= digest.Sum64()
		sum.TotalKvs++
		sum.TotalBytes += uint64(len(pair.key) + len(pair.value))
	}
	return sum
}

// between gives the pairs of a range in ascending order. No end means that it is open.
func (c contents) between(from, to []byte) pairs {
	var found pairs
	for key, value := range c {
		if key >= string(from) && (len(to) == 0 || key < string(to)) {
			found = append(found, pair{[]byte(key), value})
		}
	}
	sort.Slice(found, func(i, j int) bool { return bytes.Compare(found[i].key, found[j].key) < 0 })
	return found
}

type pair struct{ key, value []byte }

type pairs []pair

func (p pairs) first(limit int) pairs {
	if len(p) > limit {
		return p[:limit]
	}
	return p
}

func (p pairs) reversed() pairs {
	turned := make(pairs, 0, len(p))
	for at := len(p) - 1; at >= 0; at-- {
		turned = append(turned, p[at])
	}
	return turned
}

// equal compares with what a scan answered; values are left out where only keys were asked for.
func (p pairs) equal(keys, values [][]byte, err error) error {
	if err != nil {
		return err
	}
	if len(keys) != len(p) {
		return mismatchf("%d pairs instead of %d", len(keys), len(p))
	}
	for at, wanted := range p {
		if !bytes.Equal(keys[at], wanted.key) {
			return mismatchf("key %d is %q instead of %q", at, keys[at], wanted.key)
		}
		if values != nil && !bytes.Equal(values[at], wanted.value) {
			return mismatchf("%q is %s instead of %s", keys[at], show(values[at]), show(wanted.value))
		}
	}
	return nil
}

// expect checks one key; no value means that the key is not there.
func expect(ctx context.Context, client *rawkv.Client, key, wanted []byte, options ...rawkv.RawOption) error {
	value, err := client.Get(ctx, key, options...)
	if err != nil {
		return fmt.Errorf("get %q: %w", key, err)
	}
	if !same(value, wanted) {
		return mismatchf("%q is %s instead of %s", key, show(value), show(wanted))
	}
	return nil
}

// mismatch is what a request answered that it must not, as against a request that failed.
type mismatch struct{ what string }

func (m *mismatch) Error() string { return m.what }

func mismatchf(format string, parts ...any) error {
	return &mismatch{fmt.Sprintf(format, parts...)}
}

// same tells an empty value from none.
func same(left, right []byte) bool {
	return (left == nil) == (right == nil) && bytes.Equal(left, right)
}

func show(value []byte) string {
	switch {
	case value == nil:
		return "absent"
	case len(value) > 64:
		return fmt.Sprintf("%q and %d bytes more", value[:64], len(value)-64)
	default:
		return fmt.Sprintf("%q", value)
	}
}
