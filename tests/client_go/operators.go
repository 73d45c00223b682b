package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	pd "github.com/tikv/pd/client"
)

// operators asks for operators as people's tools do, over HTTP, and watches them as programs do.
type operators struct {
	address string
	client  pd.Client
}

// wish is an operator that is asked for. Which fields count depends on its name.
type wish struct {
	Name   string `json:"name"`
	Region uint64 `json:"region_id"`
	Store  uint64 `json:"store_id,omitempty"`
	From   uint64 `json:"from_store_id,omitempty"`
	To     uint64 `json:"to_store_id,omitempty"`
}

// kind is a kind of operator.
type kind struct {
	name string
	// wish makes what is asked for of a region, out of two stores: one that has a peer of it, and one that has not.
	wish func(region uint64, inside, outside uint64) wish
	// Whether a peer is taken away and none added. While a store is down, its peers are the ones that can be spared.
	shrinks bool
}

var kinds = []kind{
	{name: "transfer-leader", wish: func(region, inside, _ uint64) wish {
		return wish{Region: region, To: inside}
	}},
	{name: "transfer-peer", wish: func(region, inside, outside uint64) wish {
		return wish{Region: region, From: inside, To: outside}
	}},
	{name: "add-peer", wish: func(region, _, outside uint64) wish {
		return wish{Region: region, Store: outside}
	}},
	// The coordinator adds another by itself.
	{name: "remove-peer", shrinks: true, wish: func(region, inside, _ uint64) wish {
		return wish{Region: region, Store: inside}
	}},
}

// asked is how the names of operators begin that people ask for.
const asked = "admin-"

// configure leaves nothing between a region and its next place: no limit of the peers that a store gets and loses in a
// minute, and none of what is used of the disk, which is the machine's.
func (o *operators) configure(ctx context.Context) error {
	status, answer, err := o.post(ctx, "/pd/api/v1/config", map[string]int{"store-limit": 10_000, "low-space-ratio": 1})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the configuration is refused: %d %s", status, answer)
	}
	return err
}

// ask asks for an operator, and waits until it has ended. It tells whether it was successful, and else why not: it was
// refused, or cancelled because the region has changed.
func (o *operators) ask(ctx context.Context, region *metapb.Region, wish wish) (bool, string, error) {
	status, answer, err := o.post(ctx, "/pd/api/v1/operators", wish)
	if err != nil {
		return false, "", err
	}
	if status != http.StatusOK {
		return false, answer, nil
	}
	for {
		answer, err := o.client.GetOperator(ctx, wish.Region)
		if err != nil {
			return false, "", fmt.Errorf("operator of region %d: %w", wish.Region, err)
		}
		if wrong := answer.GetHeader().GetError(); wrong != nil {
			return false, "", fmt.Errorf("operator of region %d: %v", wish.Region, wrong)
		}
		if !bytes.HasPrefix(answer.Desc, []byte(asked)) {
			// The coordinator makes one of its own at once when there is a peer too many or too few.
			changed, err := o.hasChanged(ctx, region)
			return changed, fmt.Sprintf("%s came after it", answer.Desc), err
		}
		if answer.Status != pdpb.OperatorStatus_RUNNING {
			return answer.Status == pdpb.OperatorStatus_SUCCESS, answer.Status.String(), nil
		}
		if err := pause(ctx); err != nil {
			return false, "", fmt.Errorf("%s of region %d is under way: %w", answer.Desc, wish.Region, err)
		}
	}
}

// hasChanged tells whether a region has other members than it had.
func (o *operators) hasChanged(ctx context.Context, before *metapb.Region) (bool, error) {
	region, err := o.client.GetRegionByID(ctx, before.Id)
	if err != nil || region == nil {
		return false, err
	}
	return region.Meta.RegionEpoch.ConfVer > before.RegionEpoch.ConfVer, nil
}

func (o *operators) post(ctx context.Context, path string, body any) (int, string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.address+path, bytes.NewReader(text))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}
