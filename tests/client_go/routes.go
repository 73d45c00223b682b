package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"

	"github.com/pingcap/kvproto/pkg/metapb"
	pd "github.com/tikv/pd/client"
)

// allRegions is more than there ever are.
const allRegions = 10_000

// watcher asks the coordinator where keys lie, over and over, in each way that a client has. Whatever splits and moves
// meanwhile, every answer must make sense by itself, no key may be without a region, no region may go back, and answers
// about a region that has not changed between them must agree.
//
// While a split is being reported, the parent may answer for keys that it has lost already, as it was.
type watcher struct {
	client pd.Client
	rng    *rand.Rand
	keys   [][]byte
	// The newest epoch of each region that was asked for by its id.
	newest         map[uint64]*metapb.RegionEpoch
	rounds, agreed int
}

// newWatcher makes a watcher who asks about keys, among others.
func newWatcher(client pd.Client, seed int64, keys [][]byte) *watcher {
	keys = append([][]byte{lowest, highest}, keys...)
	return &watcher{client: client, rng: rand.New(rand.NewSource(seed)), keys: keys, newest: map[uint64]*metapb.RegionEpoch{}}
}

func (w *watcher) work(ctx context.Context, pace *pace) error {
	for pace.goesOn(ctx) {
		if err := w.round(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("routes, round %d: %w", w.rounds, err)
		}
		w.rounds++
		pace.step()
	}
	fmt.Printf("routes: %d rounds, in %d of which the region stayed as it was\n", w.rounds, w.agreed)
	return nil
}

func (w *watcher) round(ctx context.Context) error {
	key := w.keys[w.rng.Intn(len(w.keys))]
	if err := w.around(ctx, key); err != nil {
		return fmt.Errorf("around %q: %w", key, err)
	}
	if err := w.pages(ctx); err != nil {
		return err
	}
	return w.part(ctx, key, w.keys[w.rng.Intn(len(w.keys))])
}

// around asks for a key's region in all ways. When it is the same at the end as at the beginning, nothing has changed in
// between, and all of them must agree.
func (w *watcher) around(ctx context.Context, key []byte) error {
	before, err := w.at(ctx, key)
	if err != nil {
		return err
	}
	byID, err := w.client.GetRegionByID(ctx, before.Meta.Id)
	if err := w.may(byID, err); err != nil {
		return err
	}
	if err := w.goesOn(byID); err != nil {
		return err
	}
	previous, err := w.client.GetPrevRegion(ctx, key)
	if err := w.may(previous, err); err != nil {
		return err
	}
	scanned, err := w.client.ScanRegions(ctx, key, nil, 1)
	if err != nil {
		return err
	}
	if len(scanned) == 0 {
		return fmt.Errorf("no region holds %q or a key behind it", key)
	}
	if _, err := w.row(scanned[0].Meta.StartKey, scanned); err != nil {
		return err
	}
	if err := w.checkStores(ctx, before); err != nil {
		return err
	}
	after, err := w.at(ctx, key)
	if err != nil || !alike(before, after) {
		return err
	}
	if byID == nil || byID.Meta.RegionEpoch.Version > before.Meta.RegionEpoch.Version {
		// A parent as it was.
		return nil
	}
	w.agreed++
	switch {
	case !alike(before, byID):
		return fmt.Errorf("by its id, %s is %s", describe(before), describe(byID))
	case len(scanned) != 1 || !alike(before, scanned[0]):
		return fmt.Errorf("a scan finds %d regions instead of %s alone", len(scanned), describe(before))
	case len(before.Meta.StartKey) == 0 && previous != nil:
		return fmt.Errorf("%s is before the first region", describe(previous))
	case len(before.Meta.StartKey) > 0 && (previous == nil || !bytes.Equal(previous.Meta.EndKey, before.Meta.StartKey)):
		return fmt.Errorf("%s is before %s", describe(previous), describe(before))
	}
	return nil
}

// may checks a region that need not be there.
func (w *watcher) may(region *pd.Region, err error) error {
	if err != nil || region == nil {
		return err
	}
	return w.check(region)
}

// goesOn checks that a region is not older than it was.
func (w *watcher) goesOn(region *pd.Region) error {
	if region == nil {
		return nil
	}
	epoch, newest := region.Meta.RegionEpoch, w.newest[region.Meta.Id]
	if newest != nil && (epoch.Version < newest.Version || epoch.ConfVer < newest.ConfVer) {
		return fmt.Errorf("%s was at %v before", describe(region), newest)
	}
	w.newest[region.Meta.Id] = epoch
	return nil
}

// at gives the region that holds a key.
func (w *watcher) at(ctx context.Context, key []byte) (*pd.Region, error) {
	region, err := w.client.GetRegion(ctx, key)
	if err != nil {
		return nil, err
	}
	if region == nil {
		return nil, fmt.Errorf("no region holds %q", key)
	}
	if !holds(region.Meta, key) {
		return nil, fmt.Errorf("%s does not hold %q", describe(region), key)
	}
	return region, w.check(region)
}

// pages scans all regions, a few at a time. Regions split and never merge here, so that a page begins where the one before
// it has ended.
func (w *watcher) pages(ctx context.Context) error {
	limit, from := 1+w.rng.Intn(8), lowest
	for {
		regions, err := w.client.ScanRegions(ctx, from, nil, limit)
		if err != nil {
			return err
		}
		if len(regions) == 0 || len(regions) > limit {
			return fmt.Errorf("a scan of %d regions from %q gives %d", limit, from, len(regions))
		}
		end, err := w.row(from, regions)
		if err != nil {
			return err
		}
		if len(end) == 0 {
			return nil
		}
		if len(regions) < limit {
			return fmt.Errorf("a scan of %d regions from %q ends at %q after %d", limit, from, end, len(regions))
		}
		from = end
	}
}

// part scans the regions of a range of keys.
func (w *watcher) part(ctx context.Context, from, to []byte) error {
	if bytes.Compare(from, to) > 0 {
		from, to = to, from
	}
	if bytes.Equal(from, to) {
		return nil
	}
	regions, err := w.client.ScanRegions(ctx, from, to, allRegions)
	if err != nil {
		return err
	}
	if len(regions) == 0 || !holds(regions[0].Meta, from) {
		return fmt.Errorf("%d regions from %q to %q, and the first does not begin there", len(regions), from, to)
	}
	end, err := w.row(regions[0].Meta.StartKey, regions)
	if err != nil {
		return err
	}
	if last := regions[len(regions)-1]; len(end) > 0 && bytes.Compare(end, to) < 0 || bytes.Compare(last.Meta.StartKey, to) >= 0 {
		return fmt.Errorf("the last region from %q to %q is %s", from, to, describe(last))
	}
	return nil
}

// row checks that regions follow each other without a gap and share no key, and tells where they end.
func (w *watcher) row(from []byte, regions []*pd.Region) ([]byte, error) {
	end := from
	for at, region := range regions {
		if at > 0 && len(end) == 0 || !bytes.Equal(region.Meta.StartKey, end) {
			return nil, fmt.Errorf("%s follows after %q", describe(region), end)
		}
		if err := w.check(region); err != nil {
			return nil, err
		}
		end = region.Meta.EndKey
	}
	return end, nil
}

// check checks what must hold of any region that the coordinator tells of.
func (w *watcher) check(region *pd.Region) error {
	meta := region.Meta
	if len(meta.EndKey) > 0 && bytes.Compare(meta.StartKey, meta.EndKey) >= 0 {
		return fmt.Errorf("%s holds no key", describe(region))
	}
	stores, led := map[uint64]bool{}, false
	for _, peer := range meta.Peers {
		if stores[peer.StoreId] {
			return fmt.Errorf("%s has two peers on one store", describe(region))
		}
		stores[peer.StoreId] = true
		led = led || peer.Id == region.Leader.GetId() && peer.StoreId == region.Leader.GetStoreId()
	}
	if !led {
		return fmt.Errorf("the leader of %s is %v", describe(region), region.Leader)
	}
	return nil
}

// checkStores checks that the coordinator knows where the peers of a region are served.
func (w *watcher) checkStores(ctx context.Context, region *pd.Region) error {
	stores, err := w.client.GetAllStores(ctx)
	if err != nil {
		return err
	}
	addresses := map[uint64]string{}
	for _, store := range stores {
		addresses[store.Id] = store.Address
	}
	for _, peer := range region.Meta.Peers {
		id := peer.StoreId
		store, err := w.client.GetStore(ctx, id)
		if err != nil {
			return err
		}
		if store == nil || store.Address == "" || store.Address != addresses[id] {
			return fmt.Errorf("store %d serves at %v, and at %q among all stores", id, store, addresses[id])
		}
	}
	return nil
}

func holds(region *metapb.Region, key []byte) bool {
	return bytes.Compare(region.StartKey, key) <= 0 && (len(region.EndKey) == 0 || bytes.Compare(key, region.EndKey) < 0)
}

// alike tells whether two answers are about one region at one epoch.
func alike(left, right *pd.Region) bool {
	return left.Meta.Id == right.Meta.Id && left.Meta.RegionEpoch.String() == right.Meta.RegionEpoch.String() &&
		bytes.Equal(left.Meta.StartKey, right.Meta.StartKey) && bytes.Equal(left.Meta.EndKey, right.Meta.EndKey)
}

func describe(region *pd.Region) string {
	if region == nil {
		return "no region"
	}
	meta := region.Meta
	return fmt.Sprintf("region %d (%q to %q, %v, %v)", meta.Id, meta.StartKey, meta.EndKey, meta.RegionEpoch, meta.Peers)
}
