module pooled

go 1.19
