package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/tikv/client-go/v2/rawkv"
)

// request is what one check does; it returns the first promise that was not kept.
type request func(ctx context.Context, client *rawkv.Client) error

// checkRequests checks what each request answers when nothing goes wrong. It begins and ends with an empty cluster.
func checkRequests(ctx context.Context, client *rawkv.Client) error {
	checks := []struct {
		name  string
		check request
	}{
		{"regions", checkRegions},
		{"put, get and delete", checkSingle},
		{"batches", checkBatches},
		{"scans", checkScans},
		{"delete-range", checkDeleteRange},
		{"compare-and-swap", checkCompareAndSwap},
		{"column families", checkFamilies},
		{"checksum", checkChecksum},
		{"refusals", checkRefusals},
	}
	for _, check := range checks {
		if err := check.check(ctx, client); err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
		if err := client.DeleteRange(ctx, lowest, highest); err != nil {
			return fmt.Errorf("empty the cluster after %s: %w", check.name, err)
		}
		if err := (contents{}).matches(ctx, client); err != nil {
			return fmt.Errorf("emptied after %s: %w", check.name, err)
		}
		fmt.Println("checked: " + check.name)
	}
	return nil
}

// The checks need borders to cross.
func checkRegions(ctx context.Context, client *rawkv.Client) error {
	regions, err := client.GetPDClient().ScanRegions(ctx, lowest, nil, 1024)
	if err != nil {
		return err
	}
	if len(regions) < 2 {
		return fmt.Errorf("there are %d regions: at least two are needed", len(regions))
	}
	end := lowest
	for _, region := range regions {
		if !bytes.Equal(region.Meta.StartKey, end) {
			return fmt.Errorf("region %d begins at %q, the one before it ends at %q",
				region.Meta.Id, region.Meta.StartKey, end)
		}
		end = region.Meta.EndKey
	}
	if len(end) != 0 {
		return fmt.Errorf("the last region ends at %q", end)
	}
	return nil
}

func checkSingle(ctx context.Context, client *rawkv.Client) error {
	for _, key := range [][]byte{[]byte("plain"), {0}, {0, 0, 0xff, 0}, {0xff, 0xff, 0xff, 0xff}} {
		if err := expect(ctx, client, key, nil); err != nil {
			return err
		}
		for _, value := range [][]byte{[]byte("first"), {}, {0, 0xff, 0}, bytes.Repeat([]byte{'v'}, 1<<20)} {
			if err := client.Put(ctx, key, value); err != nil {
				return fmt.Errorf("put %q: %w", key, err)
			}
			if err := expect(ctx, client, key, value); err != nil {
				return err
			}
		}
		for _, again := range []string{"", " what is not there"} {
			if err := client.Delete(ctx, key); err != nil {
				return fmt.Errorf("delete%s %q: %w", again, key, err)
			}
			if err := expect(ctx, client, key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkBatches(ctx context.Context, client *rawkv.Client) error {
	kept, err := fill(ctx, client, "batch", 3000)
	if err != nil {
		return err
	}
	if err := kept.matches(ctx, client); err != nil {
		return err
	}
	// The keys are asked for with others among them that are not there, and out of order.
	keys := family("batch").keys(3000)
	var asked [][]byte
	for at, key := range keys {
		asked = append(asked, longer(key, '+'), keys[len(keys)-1-at])
	}
	if err := kept.answers(ctx, client, asked); err != nil {
		return err
	}
	var dropped [][]byte
	for at, key := range keys {
		if at%3 == 0 {
			dropped = append(dropped, key)
			delete(kept, string(key))
		}
	}
	if err := client.BatchDelete(ctx, dropped); err != nil {
		return fmt.Errorf("batch delete: %w", err)
	}
	if err := kept.answers(ctx, client, asked); err != nil {
		return err
	}
	return kept.matches(ctx, client)
}

// Scans begin and end at keys, between keys, at borders of regions and beyond both ends.
func checkScans(ctx context.Context, client *rawkv.Client) error {
	kept, err := fill(ctx, client, "scan", 1000)
	if err != nil {
		return err
	}
	regions, err := client.GetPDClient().ScanRegions(ctx, lowest, nil, 1024)
	if err != nil {
		return err
	}
	keys := family("scan").keys(1000)
	bounds := [][]byte{{0}, keys[0], keys[499], longer(keys[499], 0), keys[999], highest}
	for _, region := range regions[1:] {
		bounds = append(bounds, region.Meta.StartKey)
	}
	for _, from := range bounds {
		for _, to := range bounds {
			for _, limit := range []int{70, 10_000} {
				if err := kept.scans(ctx, client, from, to, limit); err != nil {
					return err
				}
			}
		}
		if err := kept.scans(ctx, client, from, nil, 10_000); err != nil {
			return err
		}
	}
	return nil
}

func checkDeleteRange(ctx context.Context, client *rawkv.Client) error {
	kept, err := fill(ctx, client, "range", 600)
	if err != nil {
		return err
	}
	keys := family("range").keys(600)
	for _, cut := range []struct{ from, to int }{{5, 5}, {10, 11}, {50, 300}, {301, 599}} {
		if err := client.DeleteRange(ctx, keys[cut.from], keys[cut.to]); err != nil {
			return fmt.Errorf("delete %q to %q: %w", keys[cut.from], keys[cut.to], err)
		}
		for _, key := range keys[cut.from:cut.to] {
			delete(kept, string(key))
		}
		if err := kept.matches(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

func checkCompareAndSwap(ctx context.Context, client *rawkv.Client) error {
	key := []byte("compared")
	steps := []struct {
		expected, value, previous []byte
		swapped                   bool
	}{
		{[]byte("a"), []byte("b"), nil, false},
		{nil, []byte("a"), nil, true},
		{nil, []byte("b"), []byte("a"), false},
		{[]byte("b"), []byte("c"), []byte("a"), false},
		{[]byte("a"), []byte{}, []byte("a"), true},
		{nil, []byte("c"), []byte{}, false},
		{[]byte{}, []byte("c"), []byte{}, true},
	}
	var current []byte
	for _, step := range steps {
		previous, swapped, err := client.CompareAndSwap(ctx, key, step.expected, step.value)
		if err != nil {
			return fmt.Errorf("swap %q for %q: %w", step.expected, step.value, err)
		}
		if swapped != step.swapped || !same(previous, step.previous) {
			return fmt.Errorf("swap %q for %q gave (%s, %v) instead of (%s, %v)",
				step.expected, step.value, show(previous), swapped, show(step.previous), step.swapped)
		}
		if swapped {
			current = step.value
		}
		if err := expect(ctx, client, key, current); err != nil {
			return err
		}
	}
	return nil
}

func checkFamilies(ctx context.Context, client *rawkv.Client) error {
	key := []byte("one key")
	names := []string{"default", "write", "lock"}
	for _, name := range names {
		if err := client.Put(ctx, key, []byte(name), rawkv.SetColumnFamily(name)); err != nil {
			return fmt.Errorf("put into %s: %w", name, err)
		}
	}
	for _, name := range names {
		if err := expect(ctx, client, key, []byte(name), rawkv.SetColumnFamily(name)); err != nil {
			return err
		}
	}
	if err := expect(ctx, client, key, []byte("default")); err != nil {
		return fmt.Errorf("no family named: %w", err)
	}
	if err := client.Delete(ctx, key, rawkv.SetColumnFamily("write")); err != nil {
		return err
	}
	if err := expect(ctx, client, key, nil, rawkv.SetColumnFamily("write")); err != nil {
		return err
	}
	if err := client.DeleteRange(ctx, lowest, highest, rawkv.SetColumnFamily("lock")); err != nil {
		return err
	}
	if err := expect(ctx, client, key, nil, rawkv.SetColumnFamily("lock")); err != nil {
		return err
	}
	return expect(ctx, client, key, []byte("default"))
}

func checkChecksum(ctx context.Context, client *rawkv.Client) error {
	kept, err := fill(ctx, client, "sum", 500)
	if err != nil {
		return err
	}
	keys := family("sum").keys(500)
	for _, part := range []struct{ from, to []byte }{{lowest, nil}, {keys[100], keys[400]}, {keys[7], keys[8]}, {highest, nil}} {
		sum, err := client.Checksum(ctx, part.from, part.to)
		if err != nil {
			return fmt.Errorf("checksum of %q to %q: %w", part.from, part.to, err)
		}
		if wanted := kept.checksum(part.from, part.to); sum != wanted {
			return fmt.Errorf("the checksum of %q to %q is %+v instead of %+v", part.from, part.to, sum, wanted)
		}
	}
	return nil
}

// What a store does not do is an error that says so, at once, and does no harm.
func checkRefusals(ctx context.Context, client *rawkv.Client) error {
	key := []byte("refused")
	refusals := []struct {
		name, reason string
		try          func() error
	}{
		{"a time to live", "ttl is not enabled", func() error {
			return client.PutWithTTL(ctx, key, []byte("v"), 60)
		}},
		{"times to live in a batch", "ttl is not enabled", func() error {
			return client.BatchPutWithTTL(ctx, [][]byte{key}, [][]byte{[]byte("v")}, []uint64{60})
		}},
		{"the time to live of a key", "ttl is not enabled", func() error {
			_, err := client.GetKeyTTL(ctx, key)
			return err
		}},
		{"a family that is not there", "attic", func() error {
			return client.Put(ctx, key, []byte("v"), rawkv.SetColumnFamily("attic"))
		}},
		{"a value that is too long", "longer than the limit", func() error {
			return client.Put(ctx, key, make([]byte, 32<<20))
		}},
	}
	for _, refusal := range refusals {
		err := refusal.try()
		if err == nil {
			return fmt.Errorf("%s was taken", refusal.name)
		}
		if !strings.Contains(err.Error(), refusal.reason) {
			return fmt.Errorf("%s was refused without saying %q: %w", refusal.name, refusal.reason, err)
		}
		if err := expect(ctx, client, key, nil); err != nil {
			return fmt.Errorf("%s did harm: %w", refusal.name, err)
		}
	}
	return nil
}
