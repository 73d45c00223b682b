package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tikv/client-go/v2/rawkv"
)

// tally is a counter by compare-and-swap. It holds how often each of its workers has added one, so that a worker whose
// swap had an unknown outcome, or was sent twice by the client, can tell whether it was executed: the count is exact.
type tally struct {
	key []byte
	// What each worker knows of its own: how often it has added one, and whether once more is possible, because the
	// outcome of its newest swap is unknown.
	added  counts
	unsure [workersPerTally]bool
}

// counts are what a tally holds. They only grow, so no value ever comes back, and a swap that is late by any amount
// fails once another has succeeded.
type counts [workersPerTally]int

func newTally(key []byte) *tally {
	return &tally{key: key}
}

// work adds one over and over.
func (t *tally) work(ctx context.Context, client *rawkv.Client, worker int, pace *pace, unknown *unknown) error {
	var current []byte
	for pace.goesOn(ctx) {
		wanted, err := t.parse(current)
		if err != nil {
			return err
		}
		wanted[worker]++
		value, err := json.Marshal(wanted)
		if err != nil {
			return err
		}
		previous, swapped, err := client.CompareAndSwap(ctx, t.key, current, value)
		t.unsure[worker] = err != nil
		switch {
		case err != nil:
			unknown.swaps.Add(1)
			continue
		case swapped:
			current = value
		default:
			current = previous
		}
		before := t.added[worker]
		if err := t.learn(worker, current); err != nil {
			return err
		}
		if t.added[worker] > before {
			pace.step()
		}
	}
	return nil
}

// learn tells a worker from what the tally holds whether it has added one.
func (t *tally) learn(worker int, value []byte) error {
	now, err := t.parse(value)
	if err != nil {
		return err
	}
	if more := now[worker] - t.added[worker]; more < 0 || more > 1 {
		return fmt.Errorf("%q counts %d of worker %d, who has added %d", t.key, now[worker], worker, t.added[worker])
	}
	t.added[worker] = now[worker]
	return nil
}

// watch reads over and over: no count may shrink from one read to the next.
func (t *tally) watch(ctx context.Context, client *rawkv.Client, pace *pace, unknown *unknown) error {
	var last counts
	for pace.goesOn(ctx) {
		value, err := client.Get(ctx, t.key)
		if err != nil {
			unknown.reads.Add(1)
			continue
		}
		now, err := t.parse(value)
		if err != nil {
			return err
		}
		for worker := range now {
			if now[worker] < last[worker] {
				return fmt.Errorf("%q went back from %v to %v", t.key, last, now)
			}
		}
		last = now
		pace.step()
	}
	return nil
}

// settle checks the tally among what was found, takes it from there, and tells its sum.
func (t *tally) settle(found contents) (int, error) {
	now, err := t.parse(found[string(t.key)])
	if err != nil {
		return 0, err
	}
	delete(found, string(t.key))
	sum := 0
	for worker, added := range t.added {
		if now[worker] != added && !(t.unsure[worker] && now[worker] == added+1) {
			return 0, fmt.Errorf("%q counts %d of worker %d, who has added %d", t.key, now[worker], worker, added)
		}
		sum += now[worker]
	}
	return sum, nil
}

func (t *tally) parse(value []byte) (counts, error) {
	var parsed counts
	if value == nil {
		return parsed, nil
	}
	if err := json.Unmarshal(value, &parsed); err != nil {
		return counts{}, fmt.Errorf("%q holds %s, which is no count: %w", t.key, show(value), err)
	}
	return parsed, nil
}
