// An app as the Go SDK's documentation has it, over the protocol that APP_PROTOCOL names: an event
// of an input comes in, outputs are called, the reply and its metadata are compared.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	"github.com/dapr/go-sdk/service/grpc"
	"github.com/dapr/go-sdk/service/http"
	"google.golang.org/grpc/status"
)

var once sync.Once

func onTick(_ context.Context, event *common.BindingEvent) ([]byte, error) {
	once.Do(func() { go callOutputs() })
	return nil, nil
}

func callOutputs() {
	ctx := context.Background()
	dapr, err := client.NewClient()
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	order := []byte(`{"orderId":7,"price":9007199254740993}`)
	file := map[string]string{"fileName": "7.json"}
	_, err = dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{
		Name: "files", Operation: "create", Data: order, Metadata: file,
	})
	fmt.Println("created", err)
	got, err := dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{
		Name: "files", Operation: "get", Metadata: file,
	})
	fmt.Println("got", err == nil && string(got.Data) == string(order))
	web, err := dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{Name: "web", Operation: "get"})
	if err == nil {
		fmt.Println("web", string(web.Data), web.Metadata["statusCode"])
	}
	_, err = dapr.InvokeBinding(ctx, &client.InvokeBindingRequest{Name: "nope", Operation: "get"})
	fmt.Println("error", status.Code(err), strings.Contains(err.Error(), "couldn't find output binding nope"))
	_ = dapr.SetMetadata(ctx, "colour", "blue")
	metadata, err := dapr.GetMetadata(ctx)
	if err == nil {
		var names []string
		for _, component := range metadata.RegisteredComponents {
			names = append(names, component.Name)
		}
		sort.Strings(names)
		fmt.Println("metadata", metadata.ID, names, metadata.ExtendedMetadata["colour"])
	}
	// The sidecar that ends may end this process before it can say so.
	_ = dapr.Shutdown(ctx)
}

func main() {
	address := "127.0.0.1:" + os.Getenv("APP_PORT")
	var service common.Service
	if os.Getenv("APP_PROTOCOL") == "grpc" {
		over, err := grpc.NewService(address)
		if err != nil {
			panic(err)
		}
		service = over
	} else {
		service = http.NewService(address)
	}
	route := "tick"
	if os.Getenv("APP_PROTOCOL") != "grpc" {
		route = "/tick"
	}
	if err := service.AddBindingInvocationHandler(route, onTick); err != nil {
		panic(err)
	}
	if err := service.Start(); err != nil {
		fmt.Println("ended", err)
	}
}
