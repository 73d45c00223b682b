package main

import (
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	pd "github.com/tikv/pd/client"
)

// checkRaw checks every raw request on a fresh cluster, and then what holds while a store is killed.
func checkRaw(ctx context.Context, endpoints []string) error {
	client, err := connect(ctx, endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := checkRequests(ctx, client); err != nil {
		return err
	}
	return checkLoad(ctx, endpoints, client)
}

// connect opens a client whose compare-and-swaps are allowed. It knows nothing of what other clients have learnt.
func connect(ctx context.Context, endpoints []string) (*rawkv.Client, error) {
	client, err := rawkv.NewClient(ctx, endpoints, config.DefaultConfig().Security)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", endpoints, err)
	}
	return client.SetAtomicForCAS(true), nil
}

// leaderStore gives the store that leads a key's region.
func leaderStore(ctx context.Context, client pd.Client, key []byte) (*metapb.Store, error) {
	region, err := client.GetRegion(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("region of %q: %w", key, err)
	}
	if region == nil || region.Leader == nil {
		return nil, fmt.Errorf("the coordinator knows no leader of the region of %q", key)
	}
	store, err := client.GetStore(ctx, region.Leader.StoreId)
	if err != nil {
		return nil, fmt.Errorf("store %d: %w", region.Leader.StoreId, err)
	}
	return store, nil
}
