package kernels_test
import ("testing";"fmt";"time";"os";"regexp";"magvit/kernels";"magvit/kernels/kerneltest")
func TestZZ(t *testing.T){
 be:=kernels.NewCPU(1)
 re:=regexp.MustCompile(os.Getenv("ZZ"))
 for _,c:=range kerneltest.Bench(){ if !re.MatchString(c.String()){continue}
 r,err:=kerneltest.Time(be,c,150*time.Millisecond); if err!=nil{t.Fatal(err)}
 fmt.Printf("%-80.80s %9.1f us min %9.1f med %6.2f GB/s %7.2f GFLOP/s\n",c,r.Min*1e6,r.Median*1e6,r.GBPS,r.GFLOPS)}
}
