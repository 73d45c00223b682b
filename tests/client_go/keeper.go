package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"

	"github.com/tikv/client-go/v2/rawkv"
)

const (
	keysPerSpan = 48
	// Most keys of one batch and of one deleted range: several regions' once the span has been split.
	keysPerAct = 12
)

// keeper writes, deletes and scans a span of keys of its own, and knows what every request must answer.
type keeper struct {
	number int
	rng    *rand.Rand
	// The last one is in use. One is left when the outcome of a write to it is unknown: a write that is late by any amount
	// must not meet a later one.
	spans        []*span
	written      int
	acknowledged int
}

// span is a stretch of keys that one keeper alone uses.
type span struct {
	keys [][]byte
	// What the keys hold; one that is missing is not there.
	kept contents
	// What some keys may hold instead, because a write of that ended in an error.
	doubts map[string][]byte
}

func newKeeper(number int) *keeper {
	keeper := &keeper{number: number, rng: rand.New(rand.NewSource(int64(number)))}
	keeper.open()
	return keeper
}

// open begins a new span. It lies beside the keeper's others, and far from those of other keepers.
func (k *keeper) open() {
	span := &span{kept: contents{}, doubts: map[string][]byte{}}
	for at := 0; at < keysPerSpan; at++ {
		key := fmt.Sprintf("%c/keeper %d/span %d/%03d", 'a'+k.number*letters/keepers, k.number, len(k.spans), at)
		span.keys = append(span.keys, []byte(key))
	}
	k.spans = append(k.spans, span)
}

func (k *keeper) work(ctx context.Context, client *rawkv.Client, pace *pace, unknown *unknown) error {
	for pace.goesOn(ctx) {
		span := k.spans[len(k.spans)-1]
		if !k.write(ctx, client, span) {
			unknown.writes.Add(1)
			k.open()
			continue
		}
		if err := k.read(ctx, client, span); err != nil {
			var wrong *mismatch
			if errors.As(err, &wrong) {
				return fmt.Errorf("keeper %d: %w", k.number, err)
			}
			unknown.reads.Add(1)
			continue
		}
		pace.step()
	}
	return nil
}

// write does one act of several kinds, and tells whether it was acknowledged.
func (k *keeper) write(ctx context.Context, client *rawkv.Client, span *span) bool {
	first := k.rng.Intn(keysPerSpan)
	keys := span.keys[first:]
	if many := 1 + k.rng.Intn(keysPerAct); many < len(keys) {
		keys = keys[:many]
	}
	values := make([][]byte, len(keys))
	var err error
	switch k.rng.Intn(8) {
	case 0, 1:
		keys, values = keys[:1], k.values(1)
		err = client.Put(ctx, keys[0], values[0])
	case 2, 3, 4:
		values = k.values(len(keys))
		err = client.BatchPut(ctx, keys, values)
	case 5:
		keys, values = keys[:1], values[:1]
		err = client.Delete(ctx, keys[0])
	case 6:
		err = client.BatchDelete(ctx, keys)
	default:
		err = client.DeleteRange(ctx, keys[0], longer(keys[len(keys)-1], 0))
	}
	if err != nil {
		span.doubt(keys, values)
		return false
	}
	k.acknowledged += len(keys)
	span.keep(keys, values)
	return true
}

// values gives values that were never written before.
func (k *keeper) values(count int) [][]byte {
	values := make([][]byte, count)
	for at := range values {
		k.written++
		values[at] = []byte(fmt.Sprintf("keeper %d wrote %d", k.number, k.written))
	}
	return values
}

// read checks a part of the span in one of several ways.
func (k *keeper) read(ctx context.Context, client *rawkv.Client, span *span) error {
	from, to := k.rng.Intn(keysPerSpan), k.rng.Intn(keysPerSpan)
	if from > to {
		from, to = to, from
	}
	begin, end := span.keys[from], longer(span.keys[to], 0)
	switch k.rng.Intn(4) {
	case 0:
		return expect(ctx, client, begin, span.kept[string(begin)])
	case 1:
		return span.kept.answers(ctx, client, span.keys[from:to+1])
	case 2:
		sum, err := client.Checksum(ctx, begin, end)
		if err != nil {
			return err
		}
		if wanted := span.kept.checksum(begin, end); sum != wanted {
			return mismatchf("the checksum of %q to %q is %+v instead of %+v", begin, end, sum, wanted)
		}
		return nil
	default:
		return span.kept.scans(ctx, client, begin, end, 1+k.rng.Intn(keysPerSpan))
	}
}

func (s *span) keep(keys, values [][]byte) {
	for at, key := range keys {
		if values[at] == nil {
			delete(s.kept, string(key))
		} else {
			s.kept[string(key)] = values[at]
		}
	}
}

func (s *span) doubt(keys, values [][]byte) {
	for at, key := range keys {
		s.doubts[string(key)] = values[at]
	}
}

// settle checks all spans among what was found, takes them from there, and tells how many writes were acknowledged.
func (k *keeper) settle(found contents) (int, error) {
	for _, span := range k.spans {
		for _, key := range span.keys {
			name := string(key)
			value, kept := found[name], span.kept[name]
			delete(found, name)
			doubt, doubted := span.doubts[name]
			if !same(value, kept) && !(doubted && same(value, doubt)) {
				return 0, fmt.Errorf("%q is %s instead of %s at the end", key, show(value), show(kept))
			}
		}
	}
	return k.acknowledged, nil
}
