package main

import (
	"context"
	"fmt"

	"github.com/tikv/client-go/v2/rawkv"
)

const (
	slotsPerWriter = 128
	// Every so many writes, a writer writes several slots with one request.
	batchEvery = 16
	batchSlots = 8
)

// writer writes to keys of its own, over and over, and reads them back. No two values of a run are alike.
type writer struct {
	number       int
	slots        []*slot
	turn         int
	acknowledged int
}

// slot is a key and what its writer knows of it. It holds the version seen, or a later one up to the version tried:
// they differ only while a write is under way, and for ever after one whose outcome is unknown.
type slot struct {
	key         []byte
	seen, tried int
}

func newWriter(number int) *writer {
	writer := &writer{number: number}
	keys := family(fmt.Sprintf("writer %d", number)).keys(slotsPerWriter)
	for at := range keys {
		// The stride, which has no factor in common with the number of slots, leads through all regions quickly.
		writer.slots = append(writer.slots, &slot{key: keys[(at*45+number)%slotsPerWriter]})
	}
	return writer
}

func (w *writer) work(ctx context.Context, client *rawkv.Client, pace *pace, unknown *unknown) error {
	for pace.goesOn(ctx) {
		count := 1
		if w.turn%batchEvery == 0 {
			count = batchSlots
		}
		slots, err := w.next(count)
		if err != nil {
			return err
		}
		if err := w.put(ctx, client, slots); err != nil {
			unknown.writes.Add(1)
			continue
		}
		if err := w.read(ctx, client, slots[0], unknown); err != nil {
			return err
		}
		pace.step()
	}
	return nil
}

// next takes the slots whose turn it is, without those that had an unknown outcome: a write that is late by any amount
// must not meet a later one.
func (w *writer) next(count int) ([]*slot, error) {
	var taken []*slot
	for tries := 0; tries < len(w.slots) && len(taken) < count; tries++ {
		slot := w.slots[w.turn%len(w.slots)]
		w.turn++
		if slot.seen == slot.tried {
			taken = append(taken, slot)
		}
	}
	if len(taken) < count {
		return nil, fmt.Errorf("writer %d has no keys left: the outcome of a write to each is unknown", w.number)
	}
	return taken, nil
}

func (w *writer) put(ctx context.Context, client *rawkv.Client, slots []*slot) error {
	var keys, values [][]byte
	for _, slot := range slots {
		slot.tried++
		keys, values = append(keys, slot.key), append(values, w.value(slot, slot.tried))
	}
	var err error
	if len(slots) == 1 {
		err = client.Put(ctx, keys[0], values[0])
	} else {
		err = client.BatchPut(ctx, keys, values)
	}
	if err != nil {
		return err
	}
	for _, slot := range slots {
		slot.seen = slot.tried
	}
	w.acknowledged += len(slots)
	return nil
}

func (w *writer) read(ctx context.Context, client *rawkv.Client, slot *slot, unknown *unknown) error {
	value, err := client.Get(ctx, slot.key)
	if err != nil {
		unknown.reads.Add(1)
		return nil
	}
	return w.check(slot, value)
}

// settle checks every slot among what was found, takes it from there, and reads it once more by its key.
func (w *writer) settle(ctx context.Context, client *rawkv.Client, found contents) (int, error) {
	var keys [][]byte
	for _, slot := range w.slots {
		if err := w.check(slot, found[string(slot.key)]); err != nil {
			return 0, fmt.Errorf("scanned at the end: %w", err)
		}
		delete(found, string(slot.key))
		keys = append(keys, slot.key)
	}
	values, err := client.BatchGet(ctx, keys)
	if err != nil {
		return 0, err
	}
	for at, slot := range w.slots {
		if err := w.check(slot, values[at]); err != nil {
			return 0, fmt.Errorf("read at the end: %w", err)
		}
	}
	return w.acknowledged, nil
}

// check holds a value against what is known of the slot, and remembers what was seen.
func (w *writer) check(slot *slot, value []byte) error {
	version, err := w.version(slot, value)
	switch {
	case err != nil:
		return err
	case version < slot.seen:
		return fmt.Errorf("%q is at version %d: version %d was acknowledged or seen before", slot.key, version, slot.seen)
	case version > slot.tried:
		return fmt.Errorf("%q is at version %d, which was never written: %d is the last", slot.key, version, slot.tried)
	}
	if slot.seen != slot.tried {
		slot.seen = version
	}
	return nil
}

func (w *writer) value(slot *slot, version int) []byte {
	return []byte(fmt.Sprintf("writer %d of %q wrote version %d", w.number, slot.key, version))
}

// version is 0 for a slot that was never written.
func (w *writer) version(slot *slot, value []byte) (int, error) {
	if value == nil {
		return 0, nil
	}
	for version := slot.tried; version > 0; version-- {
		if same(value, w.value(slot, version)) {
			return version, nil
		}
	}
	return 0, fmt.Errorf("%q is %s, which was never written to it", slot.key, show(value))
}
