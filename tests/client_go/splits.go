package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/tikvrpc"
	pd "github.com/tikv/pd/client"
)

// splitter splits regions in each way that the clients have.
type splitter struct {
	client pd.Client
	store  *tikv.KVStore
}

// way splits at keys, and gives regions that may be on their way to other stores then.
type way struct {
	name  string
	split func(ctx context.Context, keys [][]byte) ([]uint64, error)
	// Whether the coordinator knows of the split when it is over.
	isKnown bool
}

// newSplitter makes a splitter. Closing its store closes the client.
func newSplitter(client pd.Client) (*splitter, error) {
	stores := tikv.NewRPCClient(tikv.WithSecurity(config.DefaultConfig().Security), tikv.WithCodec(tikv.NewCodecV1(tikv.ModeRaw)))
	routes := tikv.NewCodecPDClient(tikv.ModeRaw, client)
	store, err := tikv.NewKVStore("splitter", routes, tikv.NewMockSafePointKV(), rawSplits{stores})
	if err != nil {
		return nil, fmt.Errorf("make a store of the client's: %w", err)
	}
	return &splitter{client: client, store: store}, nil
}

// rawSplits says of each split that its keys are raw. client-go's own splits are made for transactions alone, whose keys
// the store writes differently.
type rawSplits struct{ tikv.Client }

func (r rawSplits) SendRequest(
	ctx context.Context, address string, request *tikvrpc.Request, timeout time.Duration,
) (*tikvrpc.Response, error) {
	if request.Type == tikvrpc.CmdSplitRegion {
		request.SplitRegion().IsRawKv = true
	}
	return r.Client.SendRequest(ctx, address, request, timeout)
}

func (s *splitter) ways() []way {
	group := int64(7)
	return []way{
		{"SplitRegions of the coordinator", s.byCoordinator, true},
		{"SplitAndScatterRegions of the coordinator", s.byCoordinatorScattered, true},
		{"SplitRegion of the stores", func(ctx context.Context, keys [][]byte) ([]uint64, error) {
			_, err := s.store.SplitRegions(ctx, keys, false, nil)
			return nil, err
		}, false},
		{"SplitRegion of the stores, scattered", func(ctx context.Context, keys [][]byte) ([]uint64, error) {
			return s.store.SplitRegions(ctx, keys, true, &group)
		}, false},
	}
}

func (s *splitter) byCoordinator(ctx context.Context, keys [][]byte) ([]uint64, error) {
	return nil, until(ctx, func() (bool, string, error) {
		answer, err := s.client.SplitRegions(ctx, keys, pd.WithRetry(8))
		if err != nil {
			return false, "", err
		}
		return s.check(ctx, keys, answer.GetHeader(), answer.FinishedPercentage, answer.RegionsId)
	})
}

func (s *splitter) byCoordinatorScattered(ctx context.Context, keys [][]byte) (regions []uint64, err error) {
	err = until(ctx, func() (bool, string, error) {
		answer, err := s.client.SplitAndScatterRegions(ctx, keys, pd.WithGroup("scattered"))
		if err != nil {
			return false, "", err
		}
		regions = answer.RegionsId
		return s.check(ctx, keys, answer.GetHeader(), answer.SplitFinishedPercentage, regions)
	})
	return regions, err
}

// check checks what the coordinator says of a split, one region of which begins at each key when all of it is done. The
// coordinator may lose its patience with a region whose leader was killed.
func (s *splitter) check(
	ctx context.Context, keys [][]byte, header *pdpb.ResponseHeader, percentage uint64, regions []uint64,
) (bool, string, error) {
	if wrong := header.GetError(); wrong != nil {
		return false, "", fmt.Errorf("refused: %v", wrong)
	}
	if uint64(len(regions)*100/len(keys)) != percentage {
		return false, "", fmt.Errorf("%d%% of %d keys are done by %d regions", percentage, len(keys), len(regions))
	}
	for _, id := range regions {
		region, err := s.client.GetRegionByID(ctx, id)
		if err != nil {
			return false, "", err
		}
		if region == nil || !among(keys, region.Meta.StartKey) {
			return false, "", fmt.Errorf("%s begins at none of the keys %q", describe(region), keys)
		}
	}
	return percentage == 100, fmt.Sprintf("%d%% are done", percentage), nil
}

// begun tells whether the coordinator knows a region that begins at each key, and else of one where none does.
func (s *splitter) begun(ctx context.Context, keys [][]byte) (bool, string, error) {
	for _, key := range keys {
		region, err := s.client.GetRegion(ctx, key)
		if err != nil {
			return false, "", err
		}
		if region == nil || !bytes.Equal(region.Meta.StartKey, key) {
			return false, fmt.Sprintf("%q is inside of %s", key, describe(region)), nil
		}
	}
	return true, "", nil
}

func among(keys [][]byte, wanted []byte) bool {
	for _, key := range keys {
		if bytes.Equal(key, wanted) {
			return true
		}
	}
	return false
}
