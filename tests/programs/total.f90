! The sum of all ranks of MPI_COMM_WORLD, after a barrier; also this rank and their number.
function total(rank, size) result(sum) bind(c)
  use iso_c_binding, only: c_int
  use mpi
  implicit none
  integer(c_int), intent(out) :: rank, size
  integer(c_int) :: sum
  integer :: error
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, error)
  call MPI_Comm_size(MPI_COMM_WORLD, size, error)
  call MPI_Barrier(MPI_COMM_WORLD, error)
  call MPI_Allreduce(rank, sum, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, error)
end function
