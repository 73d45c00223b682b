package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	pd "github.com/tikv/pd/client"
	"golang.org/x/sync/errgroup"
)

const (
	watchers = 2
	// Keys of one split; each makes a region.
	keysPerSplit = 4
	// Successful operators of each kind, in each round.
	operatorsPerKind = 2
	// How many copies of a region there are.
	replicas = 3
)

// checkMoves has the workers of the load work while regions are split and their peers moved in every way that clients and
// people have, first with all stores, then with one killed, then with all again. Others watch what the coordinator tells
// of regions all along.
func checkMoves(ctx context.Context, endpoints []string) error {
	client, err := connect(ctx, endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	mover, err := newMover(ctx, endpoints)
	if err != nil {
		return err
	}
	defer mover.close()
	load := newLoad(client, watchers)
	mover.cuts = load.cuts(mover.rng)
	return load.run(ctx, endpoints, func(ctx context.Context, work *errgroup.Group) error {
		for number := int64(0); number < watchers; number++ {
			watcher := newWatcher(client.GetPDClient(), number, mover.cuts)
			work.Go(func() error { return watcher.work(ctx, load.course.join()) })
		}
		return mover.move(ctx, load, newHarness())
	})
}

// mover splits regions and moves their peers, one after the other.
type mover struct {
	splitter  *splitter
	operators *operators
	client    pd.Client
	rng       *rand.Rand
	// Keys of the load, in no order: to split at each once.
	cuts [][]byte
	// A store that does not run.
	down uint64
	// Regions that were told to go somewhere else.
	scattered []uint64
	refused   int
}

func newMover(ctx context.Context, endpoints []string) (*mover, error) {
	// A split waits until leaders tell of the new regions.
	patience := pd.WithCustomTimeoutOption(time.Minute)
	client, err := pd.NewClientWithContext(ctx, endpoints, pd.SecurityOption{}, patience)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", endpoints, err)
	}
	splitter, err := newSplitter(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	seed := time.Now().UnixNano()
	fmt.Printf("moves of seed %d\n", seed)
	mover := &mover{
		splitter: splitter, operators: &operators{address: endpoints[0], client: client}, client: client,
		rng: rand.New(rand.NewSource(seed)),
	}
	return mover, mover.operators.configure(ctx)
}

func (m *mover) close() {
	// Nothing depends on it any more.
	_ = m.splitter.store.Close()
}

// move moves for three rounds, between which a store that leads is killed and comes back.
func (m *mover) move(ctx context.Context, load *load, harness *harness) error {
	if err := m.round(ctx, load, "with all stores"); err != nil {
		return err
	}
	victim, err := m.kill(ctx, load.tallies[0].key, harness)
	if err != nil {
		return err
	}
	if err := m.round(ctx, load, "without "+victim.Address); err != nil {
		return err
	}
	if err := harness.restart(victim.Address); err != nil {
		return err
	}
	m.down = 0
	if err := m.round(ctx, load, "with "+victim.Address+" again"); err != nil {
		return err
	}
	return m.arrive(ctx)
}

// round splits in each way, asks for operators of each kind, and lets every worker take steps in the end.
func (m *mover) round(ctx context.Context, load *load, when string) error {
	for _, way := range m.splitter.ways() {
		if err := m.split(ctx, way); err != nil {
			return fmt.Errorf("%s, %s: %w", way.name, when, err)
		}
	}
	for _, kind := range kinds {
		for done := 0; done < operatorsPerKind; {
			succeeded, err := m.operate(ctx, kind)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", kind.name, when, err)
			}
			if succeeded {
				done++
			}
		}
	}
	if err := load.course.await(ctx, stepsPerMilestone); err != nil {
		return fmt.Errorf("the workers, %s: %w", when, err)
	}
	regions, err := m.regions(ctx)
	fmt.Printf("%s: %d regions, %d operators refused or cancelled so far\n", when, len(regions), m.refused)
	return err
}

func (m *mover) split(ctx context.Context, way way) error {
	keys := m.cuts[:keysPerSplit]
	m.cuts = m.cuts[keysPerSplit:]
	regions, err := way.split(ctx, keys)
	if err != nil {
		return err
	}
	m.scattered = append(m.scattered, regions...)
	return until(ctx, func() (bool, string, error) {
		done, why, err := m.splitter.begun(ctx, keys)
		if err == nil && !done && way.isKnown {
			err = fmt.Errorf("the split is over, and %s", why)
		}
		return done, why, err
	})
}

// kill sends all regions somewhere else and kills a store while they are on their way.
func (m *mover) kill(ctx context.Context, key []byte, harness *harness) (*metapb.Store, error) {
	// Else a region of two could lose one of them.
	if err := until(ctx, func() (bool, string, error) { return m.whole(ctx) }); err != nil {
		return nil, err
	}
	regions, err := m.regions(ctx)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, region := range regions {
		ids = append(ids, region.Meta.Id)
	}
	// Older programs name one.
	if err := m.client.ScatterRegion(ctx, ids[0]); err != nil {
		return nil, err
	}
	if _, err := m.client.ScatterRegions(ctx, ids[1:], pd.WithGroup("all")); err != nil {
		return nil, err
	}
	m.scattered = append(m.scattered, ids...)
	victim, err := leaderStore(ctx, m.client, key)
	if err != nil {
		return nil, err
	}
	m.down = victim.Id
	return victim, harness.kill(victim.Address)
}

// arrive waits until every region is where it was sent, and all of them are whole.
func (m *mover) arrive(ctx context.Context) error {
	for _, region := range m.scattered {
		if err := m.splitter.store.WaitScatterRegionFinish(ctx, region, 0); err != nil {
			return fmt.Errorf("region %d is scattered: %w", region, err)
		}
		if is, err := m.splitter.store.CheckRegionInScattering(region); err != nil || is {
			return fmt.Errorf("region %d is scattered for ever: %v, %w", region, is, err)
		}
	}
	return until(ctx, func() (bool, string, error) { return m.whole(ctx) })
}

// whole tells whether every region has all of its voters and nobody else, all of whom keep up, and else of one that has
// not.
func (m *mover) whole(ctx context.Context) (bool, string, error) {
	regions, err := m.regions(ctx)
	if err != nil {
		return false, "", err
	}
	for _, region := range regions {
		voters := 0
		for _, peer := range region.Meta.Peers {
			if peer.Role == metapb.PeerRole_Voter {
				voters++
			}
		}
		idle := len(region.PendingPeers) == 0 && len(region.DownPeers) == 0
		if voters != replicas || len(region.Meta.Peers) != replicas || !idle {
			return false, fmt.Sprintf("%s lacks %v and %v", describe(region), region.PendingPeers, region.DownPeers), nil
		}
	}
	return true, "", nil
}

func (m *mover) regions(ctx context.Context) ([]*pd.Region, error) {
	return m.client.ScanRegions(ctx, lowest, nil, allRegions)
}

// operate asks for an operator of any region, and tells whether it was successful.
func (m *mover) operate(ctx context.Context, kind kind) (bool, error) {
	regions, err := m.regions(ctx)
	if err != nil {
		return false, err
	}
	stores, err := m.client.GetAllStores(ctx)
	if err != nil {
		return false, err
	}
	region := regions[m.rng.Intn(len(regions))].Meta
	has := map[uint64]bool{}
	for _, peer := range region.Peers {
		has[peer.StoreId] = true
	}
	sides := map[bool][]uint64{}
	for _, store := range stores {
		if store.Id != m.down {
			sides[has[store.Id]] = append(sides[has[store.Id]], store.Id)
		}
	}
	if kind.shrinks && m.down != 0 {
		sides[true] = nil
		if has[m.down] {
			sides[true] = []uint64{m.down}
		}
	}
	// A region may be in between: it has more or fewer peers for a moment.
	if len(sides[true]) == 0 || len(sides[false]) == 0 {
		return false, pause(ctx)
	}
	inside, outside := sides[true][m.rng.Intn(len(sides[true]))], sides[false][m.rng.Intn(len(sides[false]))]
	wish := kind.wish(region.Id, inside, outside)
	wish.Name = kind.name
	succeeded, why, err := m.operators.ask(ctx, region, wish)
	if err != nil || succeeded {
		return succeeded, err
	}
	m.refused++
	fmt.Printf("%s of region %d: %s\n", kind.name, region.Id, why)
	return false, pause(ctx)
}

// cuts gives keys that workers use, in no order.
func (l *load) cuts(rng *rand.Rand) [][]byte {
	var cuts [][]byte
	for _, keeper := range l.keepers {
		cuts = append(cuts, keeper.spans[0].keys...)
	}
	for _, writer := range l.writers[:len(l.writers)/4] {
		for _, slot := range writer.slots {
			cuts = append(cuts, slot.key)
		}
	}
	rng.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
	return cuts
}
