package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tikv/client-go/v2/rawkv"
	"golang.org/x/sync/errgroup"
)

const (
	writers = 24
	// tallies are counters, in regions of their own; each is worked on by as many workers, and watched by one more.
	tallies         = 3
	workersPerTally = 6
	// keepers write and scan whole stretches of keys.
	keepers = 6
	// What every worker does at least before the kill, between it and the restart, and after the restart.
	stepsPerMilestone = 60
)

// unknown counts the client's errors, as there may be while a store is down: nobody knows whether such a request was
// executed.
type unknown struct {
	writes, reads, swaps atomic.Int64
}

// checkLoad has many workers write and read, kills a store in the middle, starts it again, and then asks another client
// for everything.
//
// No acknowledged write may be lost, no value may be read that was never written, and reads may not go back in time. A
// write that ended in an error may have been executed, and its key is left alone from then on.
func checkLoad(ctx context.Context, endpoints []string, client *rawkv.Client) error {
	load := newLoad(client, 0)
	return load.run(ctx, endpoints, func(ctx context.Context, _ *errgroup.Group) error {
		killed, err := load.kill(ctx, newHarness())
		fmt.Printf("killed and restarted: %s\n", killed)
		return err
	})
}

type load struct {
	client  *rawkv.Client
	course  *course
	writers []*writer
	tallies []*tally
	keepers []*keeper
	unknown unknown
}

// newLoad makes a load. Others may take part in its course: as many as said, beside its own workers.
func newLoad(client *rawkv.Client, others int) *load {
	load := &load{client: client, course: newCourse(writers + tallies*(workersPerTally+1) + keepers + others)}
	for number := 0; number < writers; number++ {
		load.writers = append(load.writers, newWriter(number))
	}
	for _, key := range family("tally").keys(tallies) {
		load.tallies = append(load.tallies, newTally(key))
	}
	for number := 0; number < keepers; number++ {
		load.keepers = append(load.keepers, newKeeper(number))
	}
	return load
}

// run has the workers work until something has been done to the cluster, and compares what is there then with what they
// know. What does it may let others work with them.
func (l *load) run(
	ctx context.Context, endpoints []string, disturb func(ctx context.Context, work *errgroup.Group) error,
) error {
	work, workCtx := errgroup.WithContext(ctx)
	l.start(workCtx, work)
	err := disturb(workCtx, work)
	l.course.end()
	// A worker's error says more than that of what was cancelled by it.
	if workErr := work.Wait(); workErr != nil {
		return workErr
	}
	if err != nil {
		return err
	}
	fmt.Printf("unknown outcomes: %d writes, %d reads, %d swaps\n",
		l.unknown.writes.Load(), l.unknown.reads.Load(), l.unknown.swaps.Load())
	another, err := connect(ctx, endpoints)
	if err != nil {
		return err
	}
	defer another.Close()
	return l.settle(ctx, another)
}

func (l *load) start(ctx context.Context, work *errgroup.Group) {
	for _, each := range l.writers {
		writer := each
		work.Go(func() error { return writer.work(ctx, l.client, l.course.join(), &l.unknown) })
	}
	for _, each := range l.tallies {
		tally := each
		for number := 0; number < workersPerTally; number++ {
			worker := number
			work.Go(func() error { return tally.work(ctx, l.client, worker, l.course.join(), &l.unknown) })
		}
		work.Go(func() error { return tally.watch(ctx, l.client, l.course.join(), &l.unknown) })
	}
	for _, each := range l.keepers {
		keeper := each
		work.Go(func() error { return keeper.work(ctx, l.client, l.course.join(), &l.unknown) })
	}
}

// kill kills the store that leads the first tally's region, and tells where it serves.
func (l *load) kill(ctx context.Context, harness *harness) (string, error) {
	if err := l.course.await(ctx, stepsPerMilestone); err != nil {
		return "", fmt.Errorf("before the kill: %w", err)
	}
	store, err := leaderStore(ctx, l.client.GetPDClient(), l.tallies[0].key)
	if err != nil {
		return "", err
	}
	address := store.Address
	if err := harness.kill(address); err != nil {
		return "", err
	}
	if err := l.course.await(ctx, stepsPerMilestone); err != nil {
		return "", fmt.Errorf("after the kill of %s: %w", address, err)
	}
	if err := harness.restart(address); err != nil {
		return "", err
	}
	if err := l.course.await(ctx, stepsPerMilestone); err != nil {
		return "", fmt.Errorf("after the restart of %s: %w", address, err)
	}
	return address, nil
}

// settle compares what is there with what was acknowledged.
func (l *load) settle(ctx context.Context, client *rawkv.Client) error {
	found, err := everything(ctx, client)
	if err != nil {
		return err
	}
	acknowledged := 0
	for _, writer := range l.writers {
		count, err := writer.settle(ctx, client, found)
		if err != nil {
			return err
		}
		acknowledged += count
	}
	for _, keeper := range l.keepers {
		count, err := keeper.settle(found)
		if err != nil {
			return err
		}
		acknowledged += count
	}
	counted := 0
	for _, tally := range l.tallies {
		count, err := tally.settle(found)
		if err != nil {
			return err
		}
		counted += count
	}
	for key := range found {
		return fmt.Errorf("%q was never written, and is there", key)
	}
	fmt.Printf("settled: %d acknowledged writes, %d counted\n", acknowledged, counted)
	return nil
}

// everything reads the whole cluster, one page after another.
func everything(ctx context.Context, client *rawkv.Client) (contents, error) {
	found, from := contents{}, lowest
	for {
		keys, values, err := client.Scan(ctx, from, nil, 1000)
		if err != nil {
			return nil, fmt.Errorf("scan from %q: %w", from, err)
		}
		for at, key := range keys {
			found[string(key)] = values[at]
		}
		if len(keys) < 1000 {
			return found, nil
		}
		from = longer(keys[len(keys)-1], 0)
	}
}
