package main

import (
	"context"
	"fmt"
	"sort"
	"sync/atomic"

	"github.com/tikv/client-go/v2/oracle"
	pd "github.com/tikv/pd/client"
	"golang.org/x/sync/errgroup"
)

const (
	askers = 8
	// Timestamps of each asker before the coordinator is killed, and as many after it is back.
	timestampsPerAsker = 10_000 / askers
)

// clock gives out timestamps and remembers them.
type clock struct {
	client pd.Client
	newest atomic.Uint64
	failed atomic.Int64
}

// checkTimestamps asks for timestamps from several goroutines, and kills and restarts the coordinator meanwhile. Every
// timestamp must be greater than each that was there before it was asked for, and no two may be alike.
func checkTimestamps(ctx context.Context, endpoints []string) error {
	client, err := pd.NewClientWithContext(ctx, endpoints, pd.SecurityOption{})
	if err != nil {
		return fmt.Errorf("connect to %v: %w", endpoints, err)
	}
	defer client.Close()
	clock, course, given := &clock{client: client}, newCourse(askers), make([][]uint64, askers)
	work, workCtx := errgroup.WithContext(ctx)
	for each := range given {
		asker := each
		work.Go(func() error {
			timestamps, err := clock.ask(workCtx, course.join())
			given[asker] = timestamps
			return err
		})
	}
	err = restartCoordinator(workCtx, course, endpoints[0])
	course.end()
	if workErr := work.Wait(); workErr != nil {
		return workErr
	}
	if err != nil {
		return err
	}
	count, err := unique(given)
	fmt.Printf("timestamps: %d given, %d failed\n", count, clock.failed.Load())
	return err
}

func restartCoordinator(ctx context.Context, course *course, address string) error {
	harness := newHarness()
	if err := course.await(ctx, timestampsPerAsker); err != nil {
		return fmt.Errorf("before the kill: %w", err)
	}
	if err := harness.kill(address); err != nil {
		return err
	}
	if err := harness.restart(address); err != nil {
		return err
	}
	if err := course.await(ctx, timestampsPerAsker); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	return nil
}

// ask gets timestamps, one after another. A request that fails while the coordinator is away gives none.
func (c *clock) ask(ctx context.Context, pace *pace) ([]uint64, error) {
	var given []uint64
	for pace.goesOn(ctx) {
		before := c.newest.Load()
		physical, logical, err := c.client.GetTS(ctx)
		if err != nil {
			c.failed.Add(1)
			continue
		}
		timestamp := oracle.ComposeTS(physical, logical)
		if timestamp <= before {
			return given, fmt.Errorf("timestamp %d was given after %d", timestamp, before)
		}
		c.saw(timestamp)
		given = append(given, timestamp)
		pace.step()
	}
	return given, nil
}

func (c *clock) saw(timestamp uint64) {
	for newest := c.newest.Load(); newest < timestamp; newest = c.newest.Load() {
		if c.newest.CompareAndSwap(newest, timestamp) {
			return
		}
	}
}

// unique counts all timestamps, and checks that no two are alike.
func unique(given [][]uint64) (int, error) {
	var all []uint64
	for _, timestamps := range given {
		all = append(all, timestamps...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	for at := 1; at < len(all); at++ {
		if all[at-1] == all[at] {
			return len(all), fmt.Errorf("timestamp %d was given twice", all[at])
		}
	}
	return len(all), nil
}
